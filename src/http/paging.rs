//! Keyset pages: `limit`, an opaque `cursor`, and the address of the next page.
//!
//! A cursor holds the sort key and the id of the last item shown, so a page begins where the last one ended whatever
//! was inserted or renamed in between; equal sort keys are told apart by the id.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::form_urlencoded;
use uuid::Uuid;

use super::query::Query;
use crate::error::Fault;

/// How many items a page has where the request does not say.
pub const DEFAULT_LIMIT: i64 = 20;
/// How many items a page has at most; more is refused, never cut silently.
pub const MAX_LIMIT: i64 = 100;

/// The place in a list after which a page begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct After<K> {
    pub key: K,
    pub id: Uuid,
}

/// Which page a request asks for.
#[derive(Debug, Clone)]
pub struct Page<K> {
    pub limit: i64,
    pub after: Option<After<K>>,
    /// The list as its address without `cursor`: a cursor belongs to one of them.
    list: String,
}

#[derive(Serialize, Deserialize)]
struct Cursor<K> {
    list: String,
    #[serde(flatten)]
    after: After<K>,
}

impl<K: DeserializeOwned> Cursor<K> {
    fn decode(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        // No name has a null byte, and Postgres takes none: only a forged cursor has one, in JSON as an escape.
        if bytes.windows(6).any(|escape| escape == b"\\u0000") {
            return None;
        }
        serde_json::from_slice(&bytes).ok()
    }
}

impl<K: Serialize + DeserializeOwned> Page<K> {
    /// Takes `limit` and `cursor`. `path` and `filters` say which list it is, in its canonical spelling.
    pub fn take(query: &mut Query, path: &str, filters: &[(&str, Option<&str>)]) -> Self {
        let limit = query.take("limit", |value| match value.parse() {
            Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            _ => Err(("out_of_range", format!("Expected a whole number from 1 to {MAX_LIMIT}."))),
        });
        let mut page = Page::first(path, filters, limit.unwrap_or(DEFAULT_LIMIT));
        let cursor: Option<Cursor<K>> =
            query.take("cursor", |value| Cursor::decode(value).ok_or_else(|| ("bad_cursor", BAD_CURSOR.to_owned())));
        match cursor {
            Some(cursor) if cursor.list == page.list => page.after = Some(cursor.after),
            Some(_) => query.fault(Fault::query(
                "cursor",
                "bad_cursor",
                "This cursor belongs to a list with other filters or another order; begin without it.",
            )),
            None => {}
        }
        page
    }

    /// The first page of a list.
    #[must_use]
    pub fn first(path: &str, filters: &[(&str, Option<&str>)], limit: i64) -> Self {
        let mut list = form_urlencoded::Serializer::new(String::new());
        filters.iter().filter_map(|(name, value)| value.map(|value| (name, value))).for_each(|(name, value)| {
            list.append_pair(name, value);
        });
        let query = list.finish();
        let list = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        Page { limit, after: None, list }
    }

    /// Cuts the items that were read (one more than the page has, if there are more) to the page, and makes the cursor
    /// of the next one.
    pub fn cut<T>(&self, items: &mut Vec<T>, key: impl Fn(&T) -> After<K>) -> Option<String> {
        let size = usize::try_from(self.limit).unwrap_or(usize::MAX);
        if items.len() <= size {
            return None;
        }
        items.truncate(size);
        items.last().and_then(|last| self.cursor(key(last)))
    }

    fn cursor(&self, after: After<K>) -> Option<String> {
        serde_json::to_vec(&Cursor { list: self.list.clone(), after })
            .ok()
            .map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The address of the page that begins after an item.
    #[must_use]
    pub fn address_after(&self, after: After<K>) -> Option<String> {
        self.cursor(after).map(|cursor| self.address(&cursor))
    }

    /// The address of the page that begins at `cursor`.
    #[must_use]
    pub fn address(&self, cursor: &str) -> String {
        let separator = if self.list.contains('?') { '&' } else { '?' };
        let limit = if self.limit == DEFAULT_LIMIT { String::new() } else { format!("limit={}&", self.limit) };
        format!("{}{separator}{limit}cursor={cursor}", self.list)
    }
}

/// What is said of a cursor that this service has not made.
pub const BAD_CURSOR: &str = "Not a cursor of this list; take `next_cursor` of the page before, or begin without it.";
