//! Reading a document: a walk over its JSON that collects every fault with its place, instead of stopping at the first.
//!
//! Each of the three document types names its members once, in its `parse`; the same walk serves the API, files and
//! the samples, so that all of them accept and refuse the same.

use serde_json::{Map, Value};
use url::Url;
use uuid::Uuid;

use crate::{
    clock::{Day, Timestamp},
    error::{FAULTS_MAX, Fault},
    http::slug::Slug,
    markdown::Body,
    names::Name,
};

/// How a document names another entity: by a slug (of the day or a former one) or by its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    Slug(Slug),
    Id(Uuid),
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reference::Slug(slug) => f.write_str(slug.as_str()),
            Reference::Id(id) => id.fmt(f),
        }
    }
}

/// A document as `read` takes it from its root, or all of its faults.
///
/// # Errors
/// Each fault with its JSON pointer, the rule, and what would pass.
pub fn document<D>(value: &Value, read: impl FnOnce(Place<'_>, &Value) -> Option<D>) -> Result<D, Vec<Fault>> {
    let mut faults = Vec::new();
    match read(Place { pointer: String::new(), faults: &mut faults }, value) {
        Some(document) if faults.is_empty() => Ok(document),
        _ => Err(faults),
    }
}

/// How many characters of a pointer are shown: a member may be called anything.
const POINTER_MAX: usize = 300;

/// One place in a document, and where its faults go.
pub struct Place<'f> {
    pointer: String,
    faults: &'f mut Vec<Fault>,
}

impl Place<'_> {
    fn below(&mut self, token: &str) -> Place<'_> {
        // RFC 6901: a member's name may hold the pointer's own separators.
        let token = token.replace('~', "~0").replace('/', "~1");
        Place { pointer: format!("{}/{token}", self.pointer), faults: self.faults }
    }

    /// Says what is wrong here; `None`, so that a parser can end with it.
    pub fn fault<T>(&mut self, code: &'static str, detail: impl Into<String>) -> Option<T> {
        // What is shown of it is enough to mend it, and an answer stays short.
        if self.faults.len() < FAULTS_MAX {
            let pointer = self.pointer.chars().take(POINTER_MAX).collect::<String>();
            self.faults.push(Fault::body(pointer, code, detail));
        }
        None
    }

    fn wrong_type<T>(&mut self, expected: &str, value: &Value) -> Option<T> {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.fault("wrong_type", format!("Expected {expected}, found {found}."))
    }

    fn str<'v>(&mut self, value: &'v Value) -> Option<&'v str> {
        match value.as_str() {
            Some(text) => Some(text),
            None => self.wrong_type("a string", value),
        }
    }

    /// One line of plain text of `min..=max` characters, without surrounding space or control characters.
    pub fn line(&mut self, value: &Value, min: usize, max: usize) -> Option<String> {
        let text = self.str(value)?;
        if text.chars().any(char::is_control) {
            return self.fault(
                "control_character",
                "Control characters and line breaks can't stand here; write one line of plain text.",
            );
        }
        self.measured(text, min, max)
    }

    fn measured(&mut self, text: &str, min: usize, max: usize) -> Option<String> {
        if text.trim() != text {
            return self.fault("surrounding_space", "Remove the space at the beginning or the end.");
        }
        let length = text.chars().count();
        if length < min {
            return self.fault("too_short", format!("{length} characters; at least {min} must stand here."));
        }
        if length > max {
            return self.fault("too_long", format!("{length} characters; at most {max} may stand here."));
        }
        Some(text.to_owned())
    }

    /// A whole number from `min` to `max`; `3.0` is one as well, to JSON and to JSON Schema.
    pub fn integer(&mut self, value: &Value, min: i64, max: i64) -> Option<i64> {
        if !value.is_number() {
            return self.wrong_type("a whole number", value);
        }
        let whole = || value.as_f64().filter(|number| number.fract() == 0.0);
        match value.as_i64().or_else(|| format!("{:.0}", whole()?).parse().ok()) {
            Some(number) if (min..=max).contains(&number) => Some(number),
            _ => self.fault("out_of_range", format!("Expected a whole number from {min} to {max}.")),
        }
    }

    /// A list of at most `max` items, each read by `item`. An item with a fault is left out, the others are still read.
    pub fn list<T>(
        &mut self,
        value: &Value,
        max: usize,
        mut item: impl FnMut(&mut Place<'_>, &Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(values) = value.as_array() else {
            return self.wrong_type("a list", value);
        };
        if values.len() > max {
            return self.fault("too_many", format!("{} items; at most {max} may stand here.", values.len()));
        }
        let items = values.iter().enumerate();
        Some(items.filter_map(|(index, value)| item(&mut self.below(&index.to_string()), value)).collect())
    }

    /// Says where an item repeats an earlier one; `key` is what makes two the same.
    pub fn distinct<T, K: PartialEq>(&mut self, items: &[T], key: impl Fn(&T) -> K) {
        let keys: Vec<K> = items.iter().map(key).collect();
        for (index, this) in keys.iter().enumerate() {
            if let Some(earlier) = keys.iter().take(index).position(|other| other == this) {
                self.below(&index.to_string())
                    .fault::<()>("duplicate", format!("The same as item {earlier}; each may stand once."));
            }
        }
    }
}

/// Markdown of several lines: tabs and line breaks are its only control characters. What the renderer refuses is a
/// fault here, so that a stored body always renders.
pub fn markdown(place: &mut Place<'_>, value: &Value) -> Option<Body> {
    let text = place.str(value)?;
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return place
            .fault("control_character", "Control characters other than tabs and line breaks can't stand here.");
    }
    match Body::parse(text) {
        Ok(body) => Some(body),
        Err(fault) => place.fault(fault.code(), fault.to_string()),
    }
}

pub fn name(place: &mut Place<'_>, value: &Value) -> Option<Name> {
    match Name::parse(place.str(value)?) {
        Ok(name) => Some(name),
        Err(fault) => place.fault(fault.code(), fault.to_string()),
    }
}

pub fn slug(place: &mut Place<'_>, value: &Value) -> Option<Slug> {
    match Slug::parse(place.str(value)?) {
        Ok(slug) => Some(slug),
        Err(fault) => place.fault(fault.code(), fault.to_string()),
    }
}

pub fn reference(place: &mut Place<'_>, value: &Value) -> Option<Reference> {
    let text = place.str(value)?;
    match Uuid::try_parse(text) {
        Ok(id) => Some(Reference::Id(id)),
        Err(_) => slug(place, value).map(Reference::Slug),
    }
}

/// An absolute address of the web, at most 2,000 bytes: an index holds it.
pub fn web_address(place: &mut Place<'_>, value: &Value) -> Option<String> {
    let text = place.line(value, 1, 2000)?;
    if text.len() > 2000 {
        return place.fault("too_long", format!("{} bytes; at most 2000 may stand here.", text.len()));
    }
    match Url::parse(&text) {
        Ok(url)
            if matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none() =>
        {
            Some(text)
        }
        _ => place.fault(
            "not_a_web_address",
            "Expected an absolute address that begins with https:// or http://, without a user name.",
        ),
    }
}

pub fn day(place: &mut Place<'_>, value: &Value) -> Option<Day> {
    match Day::parse(place.str(value)?) {
        Some(day) => Some(day),
        None => place.fault("not_a_day", "Expected a day of the calendar such as 2021-08-16."),
    }
}

/// A UUID in any of its spellings.
pub fn id(place: &mut Place<'_>, value: &Value) -> Option<Uuid> {
    match Uuid::try_parse(place.str(value)?) {
        Ok(id) if !id.is_nil() => Some(id),
        _ => place.fault("not_an_id", "Expected a UUID such as 0199c0de-7a3b-7c11-9f00-1a2b3c4d5e6f."),
    }
}

/// A point in time (RFC 3339); anything finer than a microsecond is dropped.
pub fn timestamp(place: &mut Place<'_>, value: &Value) -> Option<Timestamp> {
    match Timestamp::parse(place.str(value)?) {
        Some(time) => Some(time),
        None => place.fault("not_a_time", "Expected a time such as 2026-11-02T09:30:00.000000Z."),
    }
}

pub fn boolean(place: &mut Place<'_>, value: &Value) -> Option<bool> {
    match value.as_bool() {
        Some(known) => Some(known),
        None => place.wrong_type("true or false", value),
    }
}

/// An object, whose members are somebody else's to read.
pub fn object(place: &mut Place<'_>, value: &Value) -> Option<Map<String, Value>> {
    match value.as_object() {
        Some(members) => Some(members.clone()),
        None => place.wrong_type("an object", value),
    }
}

/// One of a closed list of values.
pub fn choice<T: Choice>(place: &mut Place<'_>, value: &Value) -> Option<T> {
    let text = place.str(value)?;
    if let Some(choice) = T::ALL.iter().find(|choice| choice.as_str() == text) {
        return Some(*choice);
    }
    let known: Vec<_> = T::ALL.iter().map(|choice| choice.as_str()).collect();
    place.fault("unknown_value", format!("Expected one of {}.", known.join(", ")))
}

/// A closed list of lower-case values: one Rust enum, spelled the same in the database, JSON and the docs.
pub trait Choice: Copy + 'static {
    const ALL: &'static [Self];
    fn as_str(self) -> &'static str;
}

/// The members of one JSON object: each is taken once by name, and [`finish`](Members::finish) refuses what is left.
pub struct Members<'v, 'f> {
    map: &'v Map<String, Value>,
    known: Vec<&'static str>,
    place: Place<'f>,
}

impl<'v, 'f> Members<'v, 'f> {
    pub fn of(mut place: Place<'f>, value: &'v Value) -> Option<Self> {
        match value.as_object() {
            Some(map) => Some(Members { map, known: Vec::new(), place }),
            None => place.wrong_type("an object", value),
        }
    }

    /// The same below the root, for an item of a list.
    pub fn within<'p>(place: &'p mut Place<'_>, value: &'v Value) -> Option<Members<'v, 'p>> {
        Members::of(Place { pointer: place.pointer.clone(), faults: place.faults }, value)
    }

    /// Whether the member is there, null included.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// A member that must have a value: absent and null are both faults.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&mut Place<'_>, &Value) -> Option<T>,
    ) -> Option<T> {
        self.known.push(name);
        match self.map.get(name) {
            None => self
                .place
                .below(name)
                .fault("required", format!("The member \"{name}\" is missing; it must have a value.")),
            Some(Value::Null) => self
                .place
                .below(name)
                .fault("required", format!("The member \"{name}\" can't be null; it must have a value.")),
            Some(value) => parse(&mut self.place.below(name), value),
        }
    }

    /// A member that may be absent or null, which mean the same: its default.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&mut Place<'_>, &Value) -> Option<T>,
    ) -> Option<T> {
        self.known.push(name);
        match self.map.get(name) {
            None | Some(Value::Null) => None,
            Some(value) => parse(&mut self.place.below(name), value),
        }
    }

    /// A fault of a member as a whole, found by looking at others too.
    pub fn fault(&mut self, name: &str, code: &'static str, detail: &str) {
        self.place.below(name).fault::<()>(code, detail);
    }

    /// Whether the member has a fault already, so that a rule over several members need not repeat it.
    pub fn is_faulty(&mut self, name: &str) -> bool {
        let below = self.place.below(name).pointer;
        self.place.faults.iter().any(|fault| fault.pointer.as_ref().is_some_and(|pointer| pointer.starts_with(&below)))
    }

    /// Refuses unknown members, each with the nearest known one.
    pub fn finish(mut self) {
        for name in self.map.keys().filter(|name| !self.known.contains(&name.as_str())) {
            let detail = match nearest(name, &self.known) {
                Some(known) => format!("Unknown member; did you mean \"{known}\"?"),
                None => format!("Unknown member; the known ones are {}.", self.known.join(", ")),
            };
            self.place.below(name).fault::<()>("unknown_member", detail);
        }
    }
}

/// The known word that `word` is probably a misspelling of.
#[must_use]
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // The comparison takes time that grows with both lengths, and no known word is long.
    if word.len() > 100 {
        return None;
    }
    known
        .iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(word, known), *known))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}
