//! Entity tags, `If-Match` and `If-None-Match` (RFC 9110, sections 8.8.3, 13.1.1 and 13.1.2).
//!
//! A tag is strong: `"<revision id>.<digest of the identity bytes>.<coding>"`, without the first part for what has no
//! revision of its own, such as a list. Each coding has its own tag, since its bytes differ.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::negotiate::Coding;
use crate::error::{Error, Fault};

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
pub fn none_match_names(headers: &HeaderMap, tag: &[u8]) -> bool {
    headers.get_all(header::IF_NONE_MATCH).map(|value| value.as_bytes().trim_ascii()).any(|value| {
        value == b"*"
            || value
                .split(|byte| *byte == b',')
                .map(<[u8]>::trim_ascii)
                .any(|candidate| candidate == tag || candidate.strip_prefix(b"W/").is_some_and(|strong| strong == tag))
    })
}

/// Which revisions a write is meant for: `If-Match`.
///
/// A write compares the revision alone, the first part of a tag, so that a tag of the page, of the document and of any
/// coding protects it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// The header is not there.
    Absent,
    /// `*`: whatever is there.
    Any,
    /// One for each tag that has a revision; the tag of a list has none, and matches nothing.
    Revisions(Vec<Uuid>),
}

impl IfMatch {
    /// Whether a write of what is at `revision` may go on. Without the header it may; who must send it is the
    /// handler's to say.
    #[must_use]
    pub fn matches(&self, revision: Uuid) -> bool {
        match self {
            IfMatch::Absent | IfMatch::Any => true,
            IfMatch::Revisions(revisions) => revisions.contains(&revision),
        }
    }

    /// Reads the value of all the header's lines, joined by commas.
    fn parse(value: &str) -> Result<Self, Error> {
        if value.trim() == "*" {
            return Ok(IfMatch::Any);
        }
        let mut revisions = Vec::new();
        let mut rest = value.trim_matches(BETWEEN_TAGS);
        while !rest.is_empty() {
            // A comma may stand inside the quotes, so a tag ends with its quote and not before the next comma.
            let quoted = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"');
            let Some((tag, after)) = quoted.and_then(|quoted| quoted.split_once('"')) else { return bad_tag() };
            if tag.contains(char::is_whitespace) || !(after.is_empty() || after.trim_start().starts_with(',')) {
                return bad_tag();
            }
            revisions.extend(revision_of(tag));
            rest = after.trim_start_matches(BETWEEN_TAGS);
        }
        Ok(IfMatch::Revisions(revisions))
    }
}

/// A list may have empty items (RFC 9110, section 5.6.1.2).
const BETWEEN_TAGS: [char; 3] = [',', ' ', '\t'];

fn bad_tag<T>() -> Result<T, Error> {
    let detail = "Expected *, or entity tags as an ETag header gave them, such as \"6f3b….0f5a….br\", with commas between \
                  them; the double quotes belong to the tag.";
    Err(Error::BadRequest(vec![Fault::header("If-Match", "bad_entity_tag", detail)]))
}

/// The revision that a tag begins with, as [`entity_tag`] writes it.
fn revision_of(tag: &str) -> Option<Uuid> {
    let first = tag.split('.').next().filter(|first| first.len() == 32)?;
    Uuid::try_parse(first).ok()
}

impl FromRequest for IfMatch {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Bytes beyond ASCII may stand in a tag (RFC 9110, section 8.8.3), though in none of ours.
        let lines = request.headers().get_all(header::IF_MATCH);
        let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        ready(if lines.is_empty() { Ok(IfMatch::Absent) } else { IfMatch::parse(&lines.join(",")) })
    }
}

/// Whether `If-None-Match: *` was sent: write only where nothing is yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IfNoneMatchAny(pub bool);

impl FromRequest for IfNoneMatchAny {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut lines = request.headers().get_all(header::IF_NONE_MATCH);
        ready(Ok(IfNoneMatchAny(lines.any(|line| line.to_str().is_ok_and(|line| line.trim() == "*")))))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use proptest::prelude::*;

    use super::*;

    fn if_match(lines: &[&str]) -> Result<IfMatch, Error> {
        let request = lines.iter().fold(TestRequest::put(), |r, line| r.append_header(("if-match", *line)));
        IfMatch::extract(&request.to_http_request()).into_inner()
    }

    const REVISION: Uuid = Uuid::from_u128(0x6f3b_0000_0000_7000_8000_0000_0000_0001);

    #[test]
    fn a_tag_counts_by_its_revision() {
        let tag = "6f3b0000000070008000000000000001";
        assert_eq!(if_match(&[]).unwrap(), IfMatch::Absent);
        for any in [&["*"][..], &[" * "]] {
            assert_eq!(if_match(any).unwrap(), IfMatch::Any);
        }
        for lines in [
            &[format!("\"{tag}.x.br\"")][..],
            &[format!("W/\"{tag}.x.br-gzip\"")],
            &[format!("\"a,b\" ,, W/\",\",\"{tag}.\"")],
            &["\"other\"".to_owned(), format!("\"{tag}\",")],
        ] {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let found = if_match(&lines).unwrap();
            assert_eq!(found, IfMatch::Revisions(vec![REVISION]), "{lines:?}");
            assert!(found.matches(REVISION) && !found.matches(Uuid::nil()));
        }
    }

    #[test]
    fn a_tag_without_a_revision_matches_nothing() {
        let list = entity_tag(None, b"[]", Coding::Gzip);
        let hyphens = format!("\"{REVISION}.x.br\"");
        for lines in [&[list.as_str()][..], &["\"\""], &[""], &[","], &["\"é\""], &[hyphens.as_str()]] {
            assert_eq!(if_match(lines).unwrap(), IfMatch::Revisions(vec![]), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_quoted_tag_is_refused() {
        let lines = [
            &["6f3b0000000070008000000000000001.x.br"][..],
            &["\"a"],
            &["a\""],
            &["\"a\" \"b\""],
            &["\"a\"b"],
            &["w/\"a\""],
            &["W/ \"a\""],
            &["W/W/\"a\""],
            &["\"a b\""],
            &["*, \"a\""],
            &["\"a\"", "*"],
            &["'a'"],
        ];
        for lines in lines {
            let Err(Error::BadRequest(faults)) = if_match(lines) else { panic!("{lines:?} was read") };
            let [fault] = faults.as_slice() else { panic!("{faults:?}") };
            assert_eq!((fault.place.as_str(), fault.code.as_str()), ("header", "bad_entity_tag"));
            assert_eq!((fault.parameter.as_deref(), fault.pointer.as_deref()), (Some("If-Match"), None));
        }
    }

    #[test]
    fn only_a_star_asks_for_nothing_to_be_there() {
        for (lines, any) in [(&[][..], false), (&["*"], true), (&["\"*\""], false), (&["\"a\"", " *"], true)] {
            let request = lines.iter().fold(TestRequest::put(), |r, line| r.append_header(("if-none-match", *line)));
            assert_eq!(IfNoneMatchAny::extract(&request.to_http_request()).into_inner().unwrap().0, any, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn a_tag_of_ours_matches_its_revision_and_no_other(
            revision: u128, other: u128, bytes: Vec<u8>, coding in 0..3_usize, weak: bool,
            before in prop::collection::vec("\"[!#-~]{0,8}\"", 0..3), after in prop::collection::vec("\"[!#-~]{0,8}\"", 0..3),
            lines: bool,
        ) {
            let (revision, other) = (Uuid::from_u128(revision), Uuid::from_u128(other));
            let coding = [Coding::Identity, Coding::Gzip, Coding::Brotli][coding];
            let tag = format!("{}{}", if weak { "W/" } else { "" }, entity_tag(Some(revision), &bytes, coding));
            let tags: Vec<&str> = before.iter().map(String::as_str).chain([tag.as_str()]).chain(after.iter().map(String::as_str)).collect();
            let joined = tags.join(", ");
            let found = if lines { if_match(&tags) } else { if_match(&[&joined]) }.unwrap();
            prop_assert!(found.matches(revision));
            prop_assert_eq!(found.matches(other), revision == other);
        }

        #[test]
        fn no_value_panics(value in "[ -~\\t]{0,40}") {
            let _ = if_match(&[&value]);
        }
    }
}
