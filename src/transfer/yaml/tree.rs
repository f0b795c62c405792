//! YAML as a tree whose keys and values know their places.
//!
//! It is read from the parser's events, since a place and a style are lost to whoever gets values. What YAML has beyond
//! JSON is refused, each with its place: a file says what it says where it says it.

use std::{collections::HashSet, ops::Range};

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, StructureStyle};
use serde_json::{Map, Number, Value};

/// How deep a file may be nested; documents need five levels.
const NESTING_MAX: usize = 32;

const ANCHOR: &str = "Anchors (&) can't stand here; leave it out.";

/// A place in a file: both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub line: i64,
    pub column: i64,
}

impl Mark {
    pub const START: Mark = Mark { line: 1, column: 1 };

    pub fn new(line: usize, column: usize) -> Self {
        let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
        Mark { line: number(line), column: number(column) }
    }

    fn of(marker: &granit_parser::Marker) -> Self {
        Mark::new(marker.line(), marker.col() + 1)
    }
}

/// A value and where it begins.
#[derive(Debug)]
pub struct Node {
    pub at: Mark,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    /// Where its text stands in the file, in bytes.
    Scalar(Value, Range<usize>),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A member of a mapping.
#[derive(Debug)]
pub struct Entry {
    pub key: String,
    pub key_at: Mark,
    pub node: Node,
}

/// Something in a file that can't stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    pub at: Mark,
    /// From the root of the file.
    pub pointer: String,
    pub code: &'static str,
    pub detail: String,
}

impl Node {
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Mapping(entries) => entries,
            _ => &[],
        }
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    pub fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value, _) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Node::value).collect()),
            Content::Mapping(_) => Value::Object(self.members()),
        }
    }

    /// The members as JSON has them; none of what is no mapping.
    pub fn members(&self) -> Map<String, Value> {
        self.entries().iter().map(|entry| (entry.key.clone(), entry.node.value())).collect()
    }

    /// What stands at a JSON pointer, with its key where it has one.
    pub fn find(&self, pointer: &str) -> Option<(&Node, Option<&Entry>)> {
        let mut found = (self, None);
        for token in pointer.split('/').skip(1) {
            found = match &found.0.content {
                Content::Mapping(_) => {
                    let entry = found.0.entry(&token.replace("~1", "/").replace("~0", "~"))?;
                    (&entry.node, Some(entry))
                }
                Content::List(items) => (items.get(token.parse::<usize>().ok()?)?, None),
                Content::Scalar(..) => return None,
            };
        }
        Some(found)
    }
}

/// Reads a file. What is there of it, and all that can't stand there; nothing of what follows a mistake of syntax.
pub fn parse(text: &str) -> (Option<Node>, Vec<Flaw>) {
    let mut options = Options::default();
    options.emit_anchor_events = true;
    options.emit_unresolved_aliases = true;
    let mut reader = Reader { events: Parser::new_from_str_with_options(text, options), flaws: Vec::new() };
    let root = reader.stream().unwrap_or_default();
    (root, reader.flaws)
}

/// The file can't be read further; a flaw says why.
struct End;

struct Reader<'t> {
    events: Parser<'t, StrInput<'t>>,
    flaws: Vec<Flaw>,
}

impl<'t> Reader<'t> {
    fn stream(&mut self) -> Result<Option<Node>, End> {
        let mut root = None;
        let mut documents = 0;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) => {
                    documents += 1;
                    if documents > 1 {
                        let detail = "A file is one YAML document; remove the line ---, or make two files.";
                        self.flaw(&span, "", "several_documents", detail);
                        return Ok(root);
                    }
                }
                Event::Anchor(..) => self.flaw(&span, "", "anchor", ANCHOR),
                event => root = Some(self.node(event, span, "", 0)?),
            }
        }
    }

    /// The next event, what is said of the one before aside.
    fn next(&mut self) -> Result<(Event<'t>, Span), End> {
        match self.events.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                self.syntax(&error);
                Err(End)
            }
            None => Err(End),
        }
    }

    fn syntax(&mut self, error: &ScanError) {
        let detail = format!("This is no YAML: {}.", error.info());
        self.flaws.push(Flaw { at: Mark::of(error.marker()), pointer: String::new(), code: "syntax", detail });
    }

    fn flaw(&mut self, span: &Span, pointer: &str, code: &'static str, detail: impl Into<String>) {
        let at = Mark::of(&span.start);
        self.flaws.push(Flaw { at, pointer: pointer.to_owned(), code, detail: detail.into() });
    }

    fn node(&mut self, event: Event<'t>, span: Span, pointer: &str, depth: usize) -> Result<Node, End> {
        if depth > NESTING_MAX {
            self.flaw(&span, pointer, "too_deep", format!("Nested more than {NESTING_MAX} deep."));
            return Err(End);
        }
        if let Some(tag) = span.tag_start() {
            let detail = "Tags can't stand here; put a text that looks like a number into quotes instead.";
            self.flaw(&Span::empty(tag), pointer, "tag", detail);
        }
        let at = Mark::of(&span.start);
        match event {
            Event::Scalar(text, style, ..) => {
                let value = self.scalar(&text, style, &span, pointer);
                Ok(Node { at, content: Content::Scalar(value, span.byte_range().unwrap_or_default()) })
            }
            Event::SequenceStart(..) => self.list(at, pointer, depth),
            Event::MappingStart(style, ..) => self.mapping(at, style, pointer, depth),
            // An alias; nothing else can stand where a value is expected.
            _ => {
                let detail = "Aliases (*) can't stand here; write the value itself.";
                self.flaw(&span, pointer, "alias", detail);
                Ok(Node { at, content: Content::Scalar(Value::Null, 0..0) })
            }
        }
    }

    /// The next event within a list or a mapping. An anchor is told of behind what has it.
    fn within(&mut self, pointer: &str) -> Result<(Event<'t>, Span), End> {
        loop {
            match self.next()? {
                (Event::Anchor(..), span) => {
                    self.flaw(&span, pointer, "anchor", ANCHOR);
                }
                next => return Ok(next),
            }
        }
    }

    fn list(&mut self, at: Mark, pointer: &str, depth: usize) -> Result<Node, End> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.within(pointer)?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Node { at, content: Content::List(items) });
            }
            let below = format!("{pointer}/{}", items.len());
            items.push(self.node(event, span, &below, depth + 1)?);
        }
    }

    fn mapping(&mut self, at: Mark, style: StructureStyle, pointer: &str, depth: usize) -> Result<Node, End> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let (event, span) = self.within(pointer)?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key_at = Mark::of(&span.start);
            let key = self.key(event, &span, pointer, depth)?;
            let below = match &key {
                Some(key) => format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")),
                None => pointer.to_owned(),
            };
            let (event, value_span) = self.within(&below)?;
            let node = self.node(event, value_span, &below, depth + 1)?;
            let Some(key) = key else { continue };
            if seen.insert(key.clone()) {
                entries.push(Entry { key, key_at, node });
            } else {
                self.flaw(&span, &below, "duplicate_member", format!("The member \"{key}\" stands here twice."));
            }
        }
        // In block style a mapping begins where its first key does.
        let first = entries.first().filter(|_| style == StructureStyle::Block).map(|entry| entry.key_at);
        Ok(Node { at: first.unwrap_or(at), content: Content::Mapping(entries) })
    }

    /// A member's name; nothing where it is none.
    fn key(&mut self, event: Event<'t>, span: &Span, pointer: &str, depth: usize) -> Result<Option<String>, End> {
        match event {
            Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<" => {
                self.flaw(
                    span,
                    pointer,
                    "merge_key",
                    "Merge keys (<<) can't stand here; write the members themselves.",
                );
                Ok(None)
            }
            Event::Scalar(text, style, ..) => {
                if let Value::String(key) = self.scalar(&text, style, span, pointer) {
                    return Ok(Some(key));
                }
                let detail = "A member's name is a text; put it into quotes where it looks like something else.";
                self.flaw(span, pointer, "not_a_name", detail);
                Ok(None)
            }
            other => {
                // Read on behind it, with what is wrong in it left aside.
                let known = self.flaws.len();
                self.node(other, *span, pointer, depth + 1)?;
                self.flaws.truncate(known);
                self.flaw(span, pointer, "not_a_name", "A member's name is a text.");
                Ok(None)
            }
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: &Span, pointer: &str) -> Value {
        if text.contains('\0') {
            self.flaw(span, pointer, "null_byte", "Null bytes can't stand here.");
        }
        if style != ScalarStyle::Plain {
            return Value::String(text.to_owned());
        }
        plain(text).unwrap_or_else(|| {
            let detail = format!("\"{text}\" is no number here; put it into quotes if it is a text.");
            self.flaw(span, pointer, "not_a_number", detail);
            Value::Null
        })
    }
}

/// What a text without quotes is, by YAML 1.2's core schema; `None` where it is a number that JSON does not have.
pub fn plain(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return None;
    }
    let radix = |prefix: &str, radix| {
        let digits = text.strip_prefix(prefix)?;
        let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
        is_number.then(|| u64::from_str_radix(digits, radix).map(Value::from).ok())
    };
    if let Some(number) = radix("0o", 8).or_else(|| radix("0x", 16)) {
        return number;
    }
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        || !text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
    {
        return Some(Value::String(text.to_owned()));
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    match text.parse::<f64>() {
        Ok(number) => Number::from_f64(number).map(Value::Number),
        Err(_) => Some(Value::String(text.to_owned())),
    }
}
