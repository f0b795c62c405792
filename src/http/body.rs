//! Reading a request's body: JSON of a bounded size, with every mistake that no `Value` could show any more.
//!
//! `serde_json` alone keeps the last of two members with one name, and lets null bytes through, which Postgres does not
//! take. So the body is walked once while it is parsed, and each of them is a fault at its place.

use std::collections::BTreeSet;

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    body::{BodyStream, to_bytes_limited},
    dev::Payload,
    http::{Method, header},
    web::Bytes,
};
use futures_util::future::{FutureExt, LocalBoxFuture};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{Error, Fault};

/// The largest body that is read.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

const JSON: &str = "application/json";
/// RFC 7396.
const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON_OR_MERGE_PATCH: &str = "application/merge-patch+json, application/json";

/// As many faults as an answer may list.
const FAULTS_MAX: usize = 1000;
/// A long name with a thousand faults below it would make an answer of a thousand times its length.
const POINTERS_MAX_BYTES: usize = 64 * 1024;

/// The body of a request that must have one.
#[derive(Debug)]
pub struct Body {
    pub value: Value,
    /// The body as it came: what an `Idempotency-Key` is bound to.
    pub bytes: Bytes,
}

impl FromRequest for Body {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let checked = check_length(request).and_then(|()| check_type(request));
        let payload = payload.take();
        // A body that is not read, or not to its end, is drained by actix, or the connection closed after the answer.
        async move {
            checked?;
            Body::parse(read(payload).await?)
        }
        .boxed_local()
    }
}

/// The body of a request that may have one; `None` where it is absent or empty.
#[derive(Debug)]
pub struct OptionalBody(pub Option<Body>);

impl FromRequest for OptionalBody {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (length, kind) = (check_length(request), check_type(request));
        let payload = payload.take();
        async move {
            length?;
            let bytes = read(payload).await?;
            if bytes.is_empty() {
                return Ok(OptionalBody(None));
            }
            kind?;
            Ok(OptionalBody(Some(Body::parse(bytes)?)))
        }
        .boxed_local()
    }
}

impl Body {
    /// Reads the bytes as one JSON value, with all its faults at once.
    ///
    /// # Errors
    /// [`Error::BadRequest`] with the code `syntax`, `duplicate_member` or `null_byte` at each place.
    pub fn parse(bytes: Bytes) -> Result<Self, Error> {
        let mut walk = Walk::default();
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let parsed = walk.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
        match parsed {
            Ok(value) if walk.faults.is_empty() => Ok(Body { value, bytes }),
            Ok(_) => Err(Error::BadRequest(walk.faults)),
            Err(error) => {
                // First, because the others may follow from it.
                walk.faults.insert(0, Fault::body("", "syntax", syntax(&error)));
                Err(Error::BadRequest(walk.faults))
            }
        }
    }
}

/// A length that is announced is refused before anything is read.
fn check_length(request: &HttpRequest) -> Result<(), Error> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length > BODY_MAX_BYTES => Err(Error::ContentTooLarge(BODY_MAX_BYTES)),
        // actix-http refuses what is no number, and reads no further than the number that it found.
        _ => Ok(()),
    }
}

/// JSON, in UTF-8, uncompressed: a bomb can't be sent, and the bytes are what the fingerprint is made of.
fn check_type(request: &HttpRequest) -> Result<(), Error> {
    let patch = request.method() == Method::PATCH;
    let accepted = if patch { JSON_OR_MERGE_PATCH } else { JSON };
    let headers = request.headers();
    let plain = headers.get_all(header::CONTENT_ENCODING).all(|codings| {
        codings.to_str().is_ok_and(|codings| codings.split(',').all(|it| it.trim().eq_ignore_ascii_case("identity")))
    });
    // Two types say nothing for certain.
    let single = headers.get_all(header::CONTENT_TYPE).count() == 1;
    let json = request.mime_type().ok().flatten().is_some_and(|kind| {
        let known = kind.essence_str() == JSON || (patch && kind.essence_str() == MERGE_PATCH);
        known && kind.params().all(|(name, value)| name != "charset" || value == "utf-8")
    });
    if plain && single && json { Ok(()) } else { Err(Error::UnsupportedMediaType { accepted }) }
}

async fn read(payload: Payload) -> Result<Bytes, Error> {
    match to_bytes_limited(BodyStream::new(payload), BODY_MAX_BYTES).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let detail = format!("The body did not come to its end ({error}): send all of it.");
            Err(Error::BadRequest(vec![Fault::body("", "syntax", detail)]))
        }
        Err(_) => Err(Error::ContentTooLarge(BODY_MAX_BYTES)),
    }
}

/// What is wrong, where, and what would pass.
fn syntax(error: &serde_json::Error) -> String {
    format!(
        "The body can't be read as JSON, {error}: send one JSON value (RFC 8259) in UTF-8, without a byte order mark, \
         nested at most 127 deep, with numbers that a double holds."
    )
}

/// Makes a `Value` as `serde_json` does, and collects what that would hide.
#[derive(Default)]
struct Walk {
    /// Of the place that is being read (RFC 6901).
    pointer: String,
    faults: Vec<Fault>,
    pointers_bytes: usize,
}

impl Walk {
    fn fault(&mut self, code: &str, detail: &str) {
        self.pointers_bytes += self.pointer.len();
        let room = self.faults.len() < FAULTS_MAX && self.pointers_bytes <= POINTERS_MAX_BYTES;
        // The first is kept whatever its length, so that no fault passes.
        if room || self.faults.is_empty() {
            self.faults.push(Fault::body(self.pointer.clone(), code, detail));
        }
    }

    /// Reads what stands below the pointer's next token with `read`.
    fn below<T>(&mut self, token: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
        let read = read(self);
        self.pointer.truncate(length);
        read
    }
}

impl<'de> DeserializeSeed<'de> for &mut Walk {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Walk {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        if value.contains('\0') {
            self.fault("null_byte", "A null byte can't stand in a string; leave it out.");
        }
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = self.below(&list.len().to_string(), |walk| items.next_element_seed(walk))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        // Each name is one fault, however often it is repeated.
        let mut repeated = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = self.below(&name, |walk| {
                if map.contains_key(&name) && repeated.insert(name.clone()) {
                    walk.fault("duplicate_member", "The member stands more than once in its object; leave it once.");
                }
                if name.contains('\0') {
                    walk.fault("null_byte", "A null byte can't stand in a member's name; leave it out.");
                }
                members.next_value_seed(walk)
            })?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
