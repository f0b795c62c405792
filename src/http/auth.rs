//! Who asks: bearer tokens (RFC 6750).
//!
//! A token is `tb_` and random characters. Only its SHA-256 is stored, so it is found by its hash and nothing is
//! compared in our code; it is never logged.

use std::{future::Future, pin::Pin};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderValue},
    web::Data,
};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use super::position;
use crate::{
    error::Error,
    state::State,
    tokens::{self, Author, Role},
};

/// Someone who may read what is public: anyone, with a valid token or without one. A bad token is refused even here, so
/// that its owner learns of it.
#[derive(Debug)]
pub struct Reader(pub Option<Author>);

impl Reader {
    /// Whether what is not public may be listed.
    ///
    /// # Errors
    /// [`Error::TokenRequired`].
    pub fn may_see_drafts(&self) -> Result<(), Error> {
        // Every role may: a viewer's is the least.
        self.0.as_ref().map(|_| ()).ok_or(Error::TokenRequired)
    }
}

impl FromRequest for Reader {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let (caller, reached) = (caller(request), reached(request));
        Box::pin(async move {
            let author = caller.await?;
            reached.await?;
            Ok(Reader(author))
        })
    }
}

/// A permission is a handler's argument: there is no other way to come by the author of a write, so one without the
/// right role does not compile.
macro_rules! permissions {
    ($($(#[$meta:meta])* $name:ident)*) => {$(
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $name(pub Author);

        impl FromRequest for $name {
            type Error = Error;
            type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                let (caller, reached) = (caller(request), reached(request));
                Box::pin(async move {
                    // Before the position: who may not do this has nothing to wait for.
                    let author = at_least(Role::$name, caller.await?)?;
                    reached.await?;
                    Ok($name(author))
                })
            }
        }
    )*};
}

permissions! {
    /// Someone who may see drafts.
    Viewer
    /// Someone who may write drafts.
    Contributor
    /// Someone who may change what is public.
    Editor
    /// Someone who may do everything.
    Admin
}

fn at_least(needed: Role, caller: Option<Author>) -> Result<Author, Error> {
    let author = caller.ok_or(Error::TokenRequired)?;
    if author.role < needed {
        return Err(Error::Forbidden { needed, has: author.role });
    }
    Ok(author)
}

/// Who sent the request; nobody, where it has no token.
fn caller(request: &HttpRequest) -> impl Future<Output = Result<Option<Author>, Error>> + use<> {
    let authorization = request.headers().get(header::AUTHORIZATION).cloned();
    let state = request.app_data::<Data<State>>().cloned();
    async move {
        let Some(authorization) = authorization else { return Ok(None) };
        let state = state.ok_or_else(|| Error::internal("the app has no state"))?;
        author(&state, &authorization).await.map(Some)
    }
}

/// Waits for the position that the request asks for: what the handler reads after this is at that position or later.
fn reached(request: &HttpRequest) -> impl Future<Output = Result<(), Error>> + use<> {
    let after = position::asked(request.headers());
    let state = request.app_data::<Data<State>>().cloned();
    async move {
        let Some(after) = after? else { return Ok(()) };
        let state = state.ok_or_else(|| Error::internal("the app has no state"))?;
        position::wait_for(&state, after).await
    }
}

async fn author(state: &State, authorization: &HeaderValue) -> Result<Author, Error> {
    let token = authorization
        .to_str()
        .ok()
        .and_then(bearer)
        .ok_or(Error::InvalidToken("it is not of the form \"Bearer tb_…\""))?;
    let author = tokens::find(state, &SecretString::from(token)).await?;
    author.ok_or(Error::InvalidToken("it is unknown, expired or revoked"))
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
