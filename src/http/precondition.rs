//! Entity tags and `If-None-Match` (RFC 9110, sections 8.8.3 and 13.1.2).
//!
//! A tag is strong: `"<revision id>.<digest of the identity bytes>.<coding>"`, without the first part for what has no
//! revision of its own, such as a list. Each coding has its own tag, since its bytes differ.

use actix_web::{HttpRequest, http::header};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::negotiate::Coding;

/// A strong entity tag, quotes included.
#[must_use]
pub fn entity_tag(revision: Option<Uuid>, identity_bytes: &[u8], coding: Coding) -> String {
    // 96 bits: two answers of one address never meet by chance.
    let digest = Sha256::digest(identity_bytes);
    let digest = BASE64_URL_SAFE_NO_PAD.encode(digest.get(..12).unwrap_or(&digest));
    match revision {
        Some(revision) => format!("\"{}.{digest}.{}\"", revision.simple(), coding.as_str()),
        None => format!("\"{digest}.{}\"", coding.as_str()),
    }
}

/// Whether `If-None-Match` names this tag, or any. A `W/` before a tag is passed over: proxies put it there when they
/// compress, and the comparison is the weak one by the standard.
#[must_use]
pub fn none_match_names(request: &HttpRequest, tag: &str) -> bool {
    let values = request.headers().get_all(header::IF_NONE_MATCH);
    values.filter_map(|value| value.to_str().ok()).any(|value| {
        value.trim() == "*" || value.split(',').any(|candidate| candidate.trim().trim_start_matches("W/") == tag)
    })
}
