//! An answer that is kept: its bytes in each coding that was asked for, and what it was made from.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::{
    HttpResponse,
    body::BoxBody,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web::Bytes,
};
use uuid::Uuid;

use super::touched::Touched;
use crate::{
    changes::{Followed, Position, Seen},
    error::Error,
    http::{
        answer::{SURROGATE_KEY, TERMBASE_POSITION, VARY, VARY_ACCEPT},
        negotiate::Coding,
        precondition,
    },
    state::HttpSettings,
};

/// How old a `404` or a `410` may be: what it suggests comes from names that it has no keys of.
const NEGATIVE: Duration = Duration::from_mins(1);
/// Above so many bytes an answer is encoded on a thread of its own, so that others on this one go on.
const LARGE: usize = 64 * 1024;

/// What a handler answers, before it is represented: all that is kept of it follows from this.
pub struct Content {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub bytes: Bytes,
    pub revision: Option<Uuid>,
    pub seen: Seen,
    pub negotiated: bool,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// An answer that is kept. It never changes, but for up to where it was checked.
pub struct Entry {
    status: StatusCode,
    content_type: HeaderValue,
    cache_control: HeaderValue,
    vary: HeaderValue,
    /// Of its snapshot.
    position: Position,
    /// Under which log it was asked for, as [`Followed`] counts them.
    log: u64,
    position_header: HeaderValue,
    surrogate_keys: Option<HeaderValue>,
    headers: Vec<(HeaderName, HeaderValue)>,
    identity: Representation,
    gzip: Option<Representation>,
    brotli: Option<Representation>,
    revision: Option<Uuid>,
    made: Instant,
    from: Arc<From>,
}

#[derive(Clone)]
struct Representation {
    bytes: Bytes,
    /// What can be asked for again by it; a problem has none.
    tag: Option<HeaderValue>,
}

/// What an answer was made from.
struct From {
    keys: Box<[u64]>,
    /// No change up to here has touched it.
    checked: AtomicI64,
}

/// What is known of a kept answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Fresh,
    /// Nothing is known against it, but the log was not looked at of late.
    Unsure,
    /// A change has touched it.
    Overtaken,
}

impl Entry {
    /// # Errors
    /// Never in practice: what headers are made of is ASCII.
    pub fn of(content: Content, log: u64, http: &HttpSettings) -> Result<Self, Error> {
        let Content { status, content_type, bytes, revision, seen, negotiated, headers } = content;
        let bytes = exact(&bytes);
        let surrogate_keys = if http.surrogate_keys && !seen.keys.is_empty() {
            Some(HeaderValue::from_str(&seen.keys.joined()).map_err(Error::internal)?)
        } else {
            None
        };
        let tag = match status {
            StatusCode::OK => Some(tag(revision, &bytes, Coding::Identity)?),
            _ => None,
        };
        Ok(Entry {
            status,
            content_type: HeaderValue::from_static(content_type),
            // A browser keeps a bare 308 for ever: a rename there and back would loop.
            cache_control: if status.is_redirection() {
                HeaderValue::from_static("no-cache")
            } else {
                http.cache_control.clone()
            },
            vary: if negotiated { VARY_ACCEPT } else { VARY },
            position: seen.position,
            log,
            position_header: HeaderValue::from_str(&seen.position.to_string()).map_err(Error::internal)?,
            surrogate_keys,
            headers,
            identity: Representation { bytes, tag },
            gzip: None,
            brotli: None,
            revision,
            made: Instant::now(),
            from: Arc::new(From { keys: seen.keys.hashes(), checked: AtomicI64::new(seen.position.number) }),
        })
    }

    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.status.is_client_error()
    }

    /// About how many bytes it takes, its place in the cache included.
    #[must_use]
    pub fn weight(&self) -> usize {
        let codings = [Some(&self.identity), self.gzip.as_ref(), self.brotli.as_ref()];
        let bytes: usize = codings.into_iter().flatten().map(|coding| coding.bytes.len() + 128).sum();
        let keys = self.from.keys.len() * 8 + self.surrogate_keys.as_ref().map_or(0, HeaderValue::len);
        size_of::<Self>() + size_of::<From>() + bytes + keys + 320
    }

    /// Compares what it was made from with what was handed out.
    pub fn verdict(&self, touched: &Touched, followed: &Followed, now: Instant) -> Verdict {
        // Numbers of another log say nothing.
        if self.log != followed.log() || followed.is_owed(&self.from.keys) {
            return Verdict::Overtaken;
        }
        let position = followed.position();
        let checked = self.from.checked.load(Ordering::Acquire);
        if checked < position {
            if !touched.is_untouched(&self.from.keys, checked) {
                return Verdict::Overtaken;
            }
            self.from.checked.fetch_max(position, Ordering::AcqRel);
        }
        let expired = self.is_negative() && now.saturating_duration_since(self.made) > NEGATIVE;
        if expired || !followed.is_current(now) { Verdict::Unsure } else { Verdict::Fresh }
    }

    /// The coding that a request wants of it.
    ///
    /// # Errors
    /// [`Error::NotAcceptable`].
    pub fn coding(&self, headers: &HeaderMap) -> Result<Coding, Error> {
        // A problem is never encoded, and a redirect has nothing to encode.
        if self.identity.tag.is_none() { Ok(Coding::Identity) } else { Coding::of(headers, self.identity.bytes.len()) }
    }

    /// Up to which change it is known to be right: whoever goes on from there misses nothing, and need not go back to where
    /// it was made, which the log may no longer have.
    fn checked(&self) -> HeaderValue {
        let number = self.from.checked.load(Ordering::Acquire);
        if number == self.position.number {
            return self.position_header.clone();
        }
        let checked = Position { number, ..self.position }.to_string();
        HeaderValue::from_str(&checked).unwrap_or_else(|_invalid| self.position_header.clone())
    }

    fn representation(&self, coding: Coding) -> Option<&Representation> {
        match coding {
            Coding::Identity => Some(&self.identity),
            Coding::Gzip => self.gzip.as_ref(),
            Coding::Brotli => self.brotli.as_ref(),
        }
    }

    #[must_use]
    pub fn has(&self, coding: Coding) -> bool {
        self.representation(coding).is_some()
    }

    /// The same with its bytes in one more coding.
    ///
    /// # Errors
    /// Never in practice: the encoders write to memory.
    pub async fn with(&self, coding: Coding) -> Result<Self, Error> {
        let identity = self.identity.bytes.clone();
        let bytes = if identity.len() > LARGE {
            tokio::task::spawn_blocking(move || coding.encode(identity)).await.map_err(Error::internal)?
        } else {
            coding.encode(identity)
        };
        let bytes = exact(&bytes.map_err(Error::internal)?);
        let tag = Some(tag(self.revision, &self.identity.bytes, coding)?);
        let made = Some(Representation { bytes, tag });
        let (gzip, brotli) = match coding {
            Coding::Identity => (self.gzip.clone(), self.brotli.clone()),
            Coding::Gzip => (made, self.brotli.clone()),
            Coding::Brotli => (self.gzip.clone(), made),
        };
        Ok(Entry {
            content_type: self.content_type.clone(),
            cache_control: self.cache_control.clone(),
            vary: self.vary.clone(),
            position_header: self.position_header.clone(),
            surrogate_keys: self.surrogate_keys.clone(),
            headers: self.headers.clone(),
            identity: self.identity.clone(),
            gzip,
            brotli,
            from: self.from.clone(),
            ..*self
        })
    }

    /// The answer in a coding that it [has](Entry::has), or `304` where the request knows it. `age` is for what is given although
    /// it could not be checked.
    #[must_use]
    pub fn respond(&self, asked: &HeaderMap, coding: Coding, age: Option<Duration>) -> HttpResponse {
        let representation = self.representation(coding).unwrap_or(&self.identity);
        let tag = representation.tag.as_ref();
        let is_known = tag.is_some_and(|tag| precondition::none_match_names(asked, tag.as_bytes()));
        let mut response = if is_known {
            HttpResponse::with_body(StatusCode::NOT_MODIFIED, BoxBody::new(()))
        } else {
            HttpResponse::with_body(self.status, BoxBody::new(representation.bytes.clone()))
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, self.cache_control.clone());
        headers.insert(header::VARY, self.vary.clone());
        headers.insert(TERMBASE_POSITION, self.checked());
        if let Some(keys) = &self.surrogate_keys {
            headers.insert(SURROGATE_KEY, keys.clone());
        }
        if let Some(tag) = tag {
            headers.insert(header::ETAG, tag.clone());
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(age) = age {
            headers.insert(header::AGE, age.as_secs().into());
        }
        if !is_known && !self.status.is_redirection() {
            headers.insert(header::CONTENT_TYPE, self.content_type.clone());
            if coding != Coding::Identity {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
            }
        }
        response
    }
}

fn tag(revision: Option<Uuid>, identity: &[u8], coding: Coding) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(&precondition::entity_tag(revision, identity, coding)).map_err(Error::internal)
}

/// Without the room that its making has left over: the cache counts the bytes alone.
fn exact(bytes: &Bytes) -> Bytes {
    Bytes::from(bytes.to_vec().into_boxed_slice())
}
