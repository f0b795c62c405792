//! NDJSON: a line an entity, or a version of one. What an export writes, an import reads, without loss.

use std::io::{BufRead, Read};

use actix_web::web::Bytes;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    editorial::{
        Deletion, FormerSlug, Incoming, IncomingRevision, Kind, Record, What,
        document::{self as read, Choice, Members, Place},
    },
    error::{Error, Fault},
    http::body::Body,
};

/// The longest line that is read.
pub const LINE_MAX_BYTES: usize = 1024 * 1024;

/// How many slugs an entity can have had.
const FORMER_SLUGS_MAX: usize = 10_000;

/// An entity as an export has it: its document, and all that the service knows of it beside that.
#[derive(Debug, Serialize)]
pub struct ExportedEntity {
    /// `term`, `category` or `company`; more may come.
    pub kind: String,
    pub id: Uuid,
    /// How often it was written, from 1.
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// When it first became public; null for drafts, and for categories, which are public from the beginning.
    pub published_at: Option<Timestamp>,
    /// When it went into the trash; null for what is not there.
    pub deleted_at: Option<Timestamp>,
    /// The slugs that it had before, in the order of the alphabet.
    pub former_slugs: Vec<FormerSlug>,
    /// A `TermDocument`, `CategoryDocument` or `CompanyDocument`, as `kind` says.
    pub document: Value,
}

/// A version of an entity as an export has it, where it is asked for.
#[derive(Debug, Serialize)]
pub struct ExportedRevision {
    /// `revision`.
    pub kind: String,
    pub id: Uuid,
    /// `term`, `category` or `company`; more may come.
    pub entity_kind: String,
    pub entity: Uuid,
    pub version: i64,
    /// `created`, `updated`, `deleted` or `restored`; more may come.
    pub what: String,
    pub author: String,
    pub message: Option<String>,
    pub at: Timestamp,
    /// The document as it was.
    pub document: Value,
}

/// What a line holds.
#[derive(Debug)]
pub enum Line {
    Entity(Incoming),
    Revision(IncomingRevision),
}

/// What the `kind` of a line may be.
#[derive(Clone, Copy)]
enum LineKind {
    Entity(Kind),
    Revision,
}

impl Choice for LineKind {
    const ALL: &'static [Self] = &[
        LineKind::Entity(Kind::Term),
        LineKind::Entity(Kind::Category),
        LineKind::Entity(Kind::Company),
        LineKind::Revision,
    ];

    fn as_str(self) -> &'static str {
        match self {
            LineKind::Entity(kind) => kind.as_str(),
            LineKind::Revision => "revision",
        }
    }
}

impl Choice for What {
    const ALL: &'static [Self] = &[What::Created, What::Updated, What::Deleted, What::Restored];

    fn as_str(self) -> &'static str {
        What::as_str(self)
    }
}

/// Reads a line, with all its faults at once; a document's own are found when it is brought in.
///
/// # Errors
/// Each fault with its JSON pointer in the line.
pub fn parse(file: i32, line: i64, bytes: Vec<u8>) -> Result<Line, Vec<Fault>> {
    let value = match Body::parse(Bytes::from(bytes)) {
        Ok(body) => body.value,
        Err(Error::BadRequest(faults)) => return Err(faults),
        Err(other) => return Err(vec![Fault::body("", "syntax", other.to_string())]),
    };
    read::document(&value, |place, value| {
        let mut members = Members::of(place, value)?;
        match members.required("kind", read::choice::<LineKind>) {
            Some(LineKind::Entity(kind)) => read_entity(members, file, line, kind).map(Line::Entity),
            Some(LineKind::Revision) => read_revision(members, file, line).map(Line::Revision),
            None => None,
        }
    })
}

fn read_entity(mut members: Members<'_, '_>, file: i32, line: i64, kind: Kind) -> Option<Incoming> {
    const BESIDE: [&str; 7] =
        ["id", "version", "created_at", "updated_at", "published_at", "deleted_at", "former_slugs"];
    let recorded = BESIDE.iter().any(|name| members.has(name));
    let says_deletion = members.has("deleted_at");
    let record = Record {
        id: members.optional("id", read::id),
        version: members.optional("version", version),
        created_at: members.optional("created_at", read::timestamp),
        updated_at: members.optional("updated_at", read::timestamp),
        published_at: members.optional("published_at", read::timestamp),
        deletion: match members.optional("deleted_at", read::timestamp) {
            Some(at) => Deletion::Deleted(at),
            None if says_deletion => Deletion::Live,
            None => Deletion::Unsaid,
        },
        former_slugs: members
            .optional("former_slugs", |place, value| place.list(value, FORMER_SLUGS_MAX, former_slug))
            .unwrap_or_default(),
    };
    let document = members.required("document", read::object);
    members.finish();
    Some(Incoming { file, line, kind, document: document?, record: recorded.then_some(record) })
}

fn read_revision(mut members: Members<'_, '_>, file: i32, line: i64) -> Option<IncomingRevision> {
    let id = members.required("id", read::id);
    let kind = members.required("entity_kind", read::choice::<Kind>);
    let entity = members.required("entity", read::id);
    let version = members.required("version", version);
    let what = members.required("what", read::choice::<What>);
    let author = members.required("author", |place, value| place.line(value, 1, 200));
    let message = members.optional("message", |place, value| place.line(value, 1, 500));
    let at = members.required("at", read::timestamp);
    let document = members.required("document", read::object);
    members.finish();
    Some(IncomingRevision {
        file,
        line,
        id: id?,
        kind: kind?,
        entity: entity?,
        version: version?,
        what: what?,
        document: Value::Object(document?),
        author: author?,
        message,
        at: at?,
    })
}

fn version(place: &mut Place<'_>, value: &Value) -> Option<i64> {
    place.integer(value, 1, i64::MAX / 2)
}

fn former_slug(place: &mut Place<'_>, value: &Value) -> Option<FormerSlug> {
    let mut members = Members::within(place, value)?;
    let slug = members.required("slug", read::slug);
    let public = members.required("public", read::boolean);
    members.finish();
    Some(FormerSlug { slug: slug?.to_string(), public: public? })
}

/// A line with its number, from 1; or what is wrong with it as a line.
pub type NumberedLine = (i64, Result<Vec<u8>, Fault>);

/// Reads a file line by line; empty ones are passed over.
pub struct Lines<R> {
    reader: R,
    number: i64,
}

impl<R: BufRead> Lines<R> {
    pub fn of(reader: R) -> Self {
        Lines { reader, number: 0 }
    }

    /// The next line with its number, from 1; or what is wrong with it.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn next_line(&mut self) -> std::io::Result<Option<NumberedLine>> {
        loop {
            let mut line = Vec::new();
            let limit = u64::try_from(LINE_MAX_BYTES).unwrap_or(u64::MAX) + 1;
            if self.reader.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.number == 1 && line.starts_with("\u{feff}".as_bytes()) {
                line.drain(..3);
            }
            if line.last() != Some(&b'\n') && line.len() > LINE_MAX_BYTES {
                self.reader.skip_until(b'\n')?;
                let detail = format!("More than {LINE_MAX_BYTES} bytes; a line may have no more.");
                return Ok(Some((self.number, Err(Fault::body("", "too_long", detail)))));
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some((self.number, Ok(line))));
            }
        }
    }

    /// All that was not read yet, as text; nothing where it was.
    ///
    /// # Errors
    /// A file that can't be read, is larger than `max` bytes, or is no UTF-8.
    pub fn rest(&mut self, max: u64) -> std::io::Result<String> {
        let mut text = String::new();
        self.reader.by_ref().take(max + 1).read_to_string(&mut text)?;
        if text.len() as u64 > max {
            return Err(std::io::Error::other(format!("it has more than {max} bytes")));
        }
        Ok(text)
    }
}
