//! Media types and content codings (RFC 9110, sections 12.5.1 and 12.5.3): which one a request wants, and bytes in it.

use std::io::Write;

use actix_web::{
    HttpRequest,
    http::header::{self, Accept, AcceptEncoding, Encoding, Header, HeaderMap, Quality, from_comma_delimited},
    web::Bytes,
};
use flate2::{Compression, write::GzEncoder};

use crate::error::Error;

/// Whether the request asks for `media_type` (one with a `+`, in lower case) by its name, and likes it no less than JSON.
///
/// Where it accepts neither, it gets JSON, as it would without the header: the standard leaves that to us, and it is what
/// browsers, which accept HTML alone, have always got.
#[must_use]
pub fn prefers(request: &HttpRequest, media_type: &str) -> bool {
    // Nearly no reader of pages names such a type, and parsing the header costs more than all the rest here.
    if !request.headers().get_all(header::ACCEPT).any(|value| value.as_bytes().contains(&b'+')) {
        return false;
    }
    let Ok(accepted) = Accept::parse(request) else { return false };
    let quality = |range: &str| accepted.iter().find(|item| item.item.essence_str() == range).map(|item| item.quality);
    let json = ["application/json", "application/*", "*/*"].into_iter().find_map(quality).unwrap_or(Quality::ZERO);
    quality(media_type).is_some_and(|quality| quality > Quality::ZERO && quality >= json)
}

/// Below this a coding costs more than it saves: the answer fits one packet anyway.
pub const SMALLEST_BYTES: usize = 1024;

/// A content coding that this service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Brotli,
}

impl Coding {
    /// The coding that the request likes best and that is worth it for so many bytes.
    ///
    /// # Errors
    /// [`Error::NotAcceptable`] where the request refuses all of them.
    pub fn of(headers: &HeaderMap, length: usize) -> Result<Self, Error> {
        let mut values = headers.get_all(header::ACCEPT_ENCODING);
        let Some(value) = values.next() else { return Ok(Coding::Identity) };
        if let (Some(coding), None) = (Coding::listed(value.as_bytes()), values.next()) {
            return Ok(if length < SMALLEST_BYTES { Coding::Identity } else { coding });
        }
        // What can't be parsed asks for nothing that we know.
        let accepted = from_comma_delimited(headers.get_all(header::ACCEPT_ENCODING));
        let Ok(accepted) = accepted.map(AcceptEncoding) else { return Ok(Coding::Identity) };
        let identity = accepted.negotiate([Encoding::identity()].iter()).is_some();
        if length < SMALLEST_BYTES && identity {
            return Ok(Coding::Identity);
        }
        match accepted.negotiate([Encoding::brotli(), Encoding::gzip(), Encoding::identity()].iter()) {
            Some(coding) if coding == Encoding::brotli() => Ok(Coding::Brotli),
            Some(coding) if coding == Encoding::gzip() => Ok(Coding::Gzip),
            Some(_) => Ok(Coding::Identity),
            None => Err(Error::NotAcceptable),
        }
    }

    /// The best of a list without weights, which is what nearly everyone sends; parsing the header in full costs more than all
    /// else that a kept answer needs.
    fn listed(value: &[u8]) -> Option<Self> {
        let is_plain = |byte: &u8| byte.is_ascii_lowercase() || matches!(byte, b',' | b' ');
        if !value.iter().all(is_plain) {
            return None;
        }
        let has = |name: &[u8]| value.split(|byte| *byte == b',').any(|item| item.trim_ascii() == name);
        Some(if has(b"br") {
            Coding::Brotli
        } else if has(b"gzip") {
            Coding::Gzip
        } else {
            Coding::Identity
        })
    }

    /// As in `Content-Encoding`, and at the end of an entity tag.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Gzip => "gzip",
            Coding::Brotli => "br",
        }
    }

    /// The bytes in this coding.
    ///
    /// # Errors
    /// Never in practice: the encoders write to memory.
    pub fn encode(self, bytes: Bytes) -> std::io::Result<Bytes> {
        match self {
            Coding::Identity => Ok(bytes),
            Coding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), Compression::new(6));
                encoder.write_all(&bytes)?;
                Ok(encoder.finish()?.into())
            }
            Coding::Brotli => {
                // Quality 5: made on the fly, it must not cost more than the query did.
                let mut encoder = brotli::CompressorWriter::new(Vec::with_capacity(bytes.len() / 3), 4096, 5, 20);
                encoder.write_all(&bytes)?;
                encoder.flush()?;
                Ok(encoder.into_inner().into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_type_is_given_to_who_names_it_and_likes_nothing_better() {
        for (accept, preferred) in [
            (&[][..], false),
            (&["*/*"], false),
            (&["application/*"], false),
            (&["application/json"], false),
            (&["text/html,application/xhtml+xml,*/*;q=0.8"], false),
            (&["application/ld+json"], true),
            (&["Application/LD+JSON;profile=\"http://www.w3.org/ns/json-ld#compacted\""], true),
            (&["application/ld+json, application/json"], true),
            (&["application/ld+json;q=0.9, application/json;q=0.8, */*;q=0.1"], true),
            (&["application/ld+json;q=0.5, */*;q=0.8"], false),
            (&["application/ld+json;q=0.5, application/json;q=0.2, */*"], true),
            (&["application/ld+json;q=0"], false),
            (&["text/html", "application/ld+json"], true),
            (&["application/activity+json"], false),
            (&["+,;;q=x"], false),
        ] {
            let request = accept.iter().fold(TestRequest::get(), |r, line| r.append_header((header::ACCEPT, *line)));
            assert_eq!(prefers(&request.to_http_request(), "application/ld+json"), preferred, "{accept:?}");
        }
    }
}
