//! Who asks: bearer tokens (RFC 6750).
//!
//! A token is `tb_` and random characters. Only its SHA-256 is stored, so it is found by its hash and nothing is
//! compared in our code; it is never logged.

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web::Data};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::{error::Error, state::State, tokens};

/// Someone who may read what is public: anyone, with a valid token or without one. A bad token is refused even here, so
/// that its owner learns of it.
#[derive(Debug)]
pub struct Reader;

impl FromRequest for Reader {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let header = request.headers().get(header::AUTHORIZATION).cloned();
        let state = request.app_data::<Data<State>>().cloned();
        Box::pin(async move {
            let Some(header) = header else { return Ok(Reader) };
            let state = state.ok_or_else(|| Error::internal("the app has no state"))?;
            let token = header
                .to_str()
                .ok()
                .and_then(bearer)
                .ok_or(Error::InvalidToken("it is not of the form \"Bearer tb_…\""))?;
            if tokens::is_valid(&state, &SecretString::from(token)).await? {
                Ok(Reader)
            } else {
                Err(Error::InvalidToken("it is unknown, expired or revoked"))
            }
        })
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && token.starts_with("tb_") && token.len() <= 200).then_some(token)
}

/// What is stored of a token.
#[must_use]
pub fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}
