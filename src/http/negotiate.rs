//! Content codings (RFC 9110, section 12.5.3): which one a request wants, and bytes in it.

use std::io::Write;

use actix_web::{
    HttpRequest,
    http::header::{self, AcceptEncoding, Encoding, Header},
    web::Bytes,
};
use flate2::{Compression, write::GzEncoder};

use crate::error::Error;

/// Below this a coding costs more than it saves: the answer fits one packet anyway.
const SMALLEST_BYTES: usize = 1024;

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
    pub fn of(request: &HttpRequest, length: usize) -> Result<Self, Error> {
        if !request.headers().contains_key(header::ACCEPT_ENCODING) {
            return Ok(Coding::Identity);
        }
        // What can't be parsed asks for nothing that we know.
        let Ok(accepted) = AcceptEncoding::parse(request) else { return Ok(Coding::Identity) };
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
