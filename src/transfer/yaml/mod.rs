//! YAML: a file a category, for people and git. It holds documents alone.
//!
//! A file has `category`, the document of one; `terms`, those that stand in it; and `companies`. In a file without a
//! category each term names its own.

mod tree;
mod write;

use serde_json::{Map, Value, json};

use tree::{Content, Node};
pub use tree::{Flaw, Mark};
pub use write::{category, companies};

use crate::{
    editorial::{Incoming, Kind, document::nearest},
    error::Fault,
    http::slug::Slug,
};

/// What a file may have at its top.
const MEMBERS: [&str; 3] = ["category", "terms", "companies"];

/// A file, as far as it can be read.
#[derive(Debug)]
pub struct File {
    pub documents: Vec<Found>,
    pub flaws: Vec<Flaw>,
    /// From the first to the last byte that is read: a byte order mark is none.
    text: String,
    root: Option<Node>,
}

/// A document in a file.
#[derive(Debug)]
pub struct Found {
    pub kind: Kind,
    pub at: Mark,
    /// From the root of the file.
    pub pointer: String,
    pub document: Map<String, Value>,
    /// Whether it has its category from its file.
    pub inherits: bool,
}

/// Reads a file: its documents, each with the line where it begins, and what is wrong with the file itself.
#[must_use]
pub fn read(file: i32, text: &str) -> (Vec<Incoming>, Vec<(i64, Fault)>) {
    let File { documents, flaws, .. } = File::read(text);
    let incoming = documents.into_iter().map(|found| {
        let Found { kind, at, pointer: _, document, inherits: _ } = found;
        Incoming { file, line: at.line, kind, document, record: None }
    });
    let mistakes = flaws.into_iter().map(|flaw| (flaw.at.line, Fault::body(flaw.pointer, flaw.code, flaw.detail)));
    (incoming.collect(), mistakes.collect())
}

/// Where a fault stands that [`read`] found, or the document that begins in `line`.
#[must_use]
pub fn locate(text: &str, line: i64, fault: &Fault) -> Mark {
    let file = File::read(text);
    let pointer = fault.pointer.as_deref().unwrap_or_default();
    let of_file = file.flaws.iter().find(|flaw| {
        flaw.at.line == line && flaw.pointer == pointer && flaw.code == fault.code && flaw.detail == fault.detail
    });
    if let Some(flaw) = of_file {
        return flaw.at;
    }
    match file.documents.iter().find(|found| found.at.line == line) {
        Some(found) => file.place(found, fault),
        None => Mark { line, column: 1 },
    }
}

impl File {
    #[must_use]
    pub fn read(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        let (root, flaws) = tree::parse(&text);
        let mut found = Vec::new();
        let mut reading = Reading { documents: &mut found, flaws };
        if let Some(root) = &root {
            reading.file(root);
        }
        let mut flaws = reading.flaws;
        flaws.sort_by_key(|flaw| flaw.at);
        File { documents: found, flaws, text, root }
    }

    /// All that stands in the file, as JSON has it.
    #[must_use]
    pub fn value(&self) -> Value {
        self.root.as_ref().map_or(Value::Null, Node::value)
    }

    /// Where a fault of a document stands: at the value, at the key of an unknown member, or where the document begins
    /// if what the fault is about is not there.
    #[must_use]
    pub fn place(&self, found: &Found, fault: &Fault) -> Mark {
        let pointer = format!("{}{}", found.pointer, fault.pointer.as_deref().unwrap_or_default());
        match self.root.as_ref().and_then(|root| root.find(&pointer)) {
            Some((_, Some(entry))) if fault.code == "unknown_member" || is_empty(&entry.node) => entry.key_at,
            Some((node, _)) => node.at,
            // Of what is missing in an item of a list, the item is the nearest place.
            None => {
                let within = pointer.rsplit_once('/').map(|(within, _)| within).unwrap_or_default();
                let item = self.root.as_ref().filter(|_| within.len() > found.pointer.len());
                item.and_then(|root| root.find(within)).map_or(found.at, |(node, _)| node.at)
            }
        }
    }

    /// Where something stands in the file that begins at the byte `offset` of a member's text. `word` is what is looked
    /// for in the file: it stands there as often as in the text, and in the same order.
    #[must_use]
    pub fn place_in_text(&self, found: &Found, member: &str, word: &str, offset: usize) -> Mark {
        let Some(entry) = self.root.as_ref().and_then(|root| root.find(&found.pointer)?.0.entry(member)) else {
            return found.at;
        };
        let Content::Scalar(Value::String(text), source) = &entry.node.content else { return entry.node.at };
        let earlier = text.match_indices(word).take_while(|(at, _)| *at < offset).count();
        let written = self.text.get(source.clone()).unwrap_or_default();
        match written.match_indices(word).nth(earlier) {
            Some((at, _)) => {
                let before = self.text.get(..source.start + at).unwrap_or_default();
                let line = before.rsplit('\n').next().unwrap_or_default();
                Mark::new(1 + before.matches('\n').count(), 1 + line.chars().count())
            }
            None => entry.node.at,
        }
    }
}

/// Whether a member has nothing behind its name: then the name is the place.
fn is_empty(node: &Node) -> bool {
    matches!(&node.content, Content::Scalar(Value::Null, source) if source.is_empty())
}

struct Reading<'d> {
    documents: &'d mut Vec<Found>,
    flaws: Vec<Flaw>,
}

impl Reading<'_> {
    fn flaw(&mut self, at: Mark, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.flaws.push(Flaw { at, pointer: pointer.into(), code, detail: detail.into() });
    }

    fn file(&mut self, root: &Node) {
        if !matches!(root.content, Content::Mapping(_)) {
            let detail = "A file has the members category, terms and companies.";
            return self.flaw(root.at, "", "wrong_type", detail);
        }
        for entry in root.entries().iter().filter(|entry| !MEMBERS.contains(&entry.key.as_str())) {
            let detail = match nearest(&entry.key, &MEMBERS) {
                Some(known) => format!("Unknown member; did you mean \"{known}\"?"),
                None => format!("Unknown member; a file has {}.", MEMBERS.join(", ")),
            };
            self.flaw(entry.key_at, format!("/{}", entry.key), "unknown_member", detail);
        }
        let category = root.entry("category").map(|entry| &entry.node).filter(|node| node.value() != Value::Null);
        let slug = category.map(|category| {
            self.document(Kind::Category, category, "/category".into(), None);
            self.slug(category, root)
        });
        self.list(root, "companies", Kind::Company, None);
        self.list(root, "terms", Kind::Term, slug.as_ref());
    }

    /// What the terms of the file have as their category.
    fn slug(&mut self, category: &Node, root: &Node) -> Value {
        if let Some(slug) = category.entry("slug").map(|entry| entry.node.value()).filter(|slug| !slug.is_null()) {
            return slug;
        }
        if root.entry("terms").is_some() {
            let detail = "The member \"slug\" is missing; the terms of the file stand in the category by it.";
            self.flaw(category.at, "/category/slug", "required", detail);
        }
        // The one that it would get, so that the terms are not refused as well.
        let name = category.entry("name").map(|entry| entry.node.value());
        json!(Slug::from_name(name.as_ref().and_then(Value::as_str).unwrap_or_default()).as_str())
    }

    fn list(&mut self, root: &Node, member: &str, kind: Kind, category: Option<&Value>) {
        let Some(entry) = root.entry(member) else { return };
        match &entry.node.content {
            Content::List(items) => {
                for (index, node) in items.iter().enumerate() {
                    self.document(kind, node, format!("/{member}/{index}"), category);
                }
            }
            Content::Scalar(Value::Null, _) => {}
            _ => self.flaw(entry.node.at, format!("/{member}"), "wrong_type", "Expected a list of documents."),
        }
    }

    fn document(&mut self, kind: Kind, node: &Node, pointer: String, category: Option<&Value>) {
        if !matches!(node.content, Content::Mapping(_)) {
            // What the parser refused already is told of.
            if !self.flaws.iter().any(|flaw| flaw.pointer == pointer) {
                self.flaw(node.at, pointer, "wrong_type", format!("Expected the document of a {}.", kind.as_str()));
            }
            return;
        }
        let mut document = node.members();
        if let Some(category) = category {
            let own = document.insert("category".into(), category.clone());
            if let (Some(own), Some(entry)) = (own, node.entry("category"))
                && own != *category
            {
                let slug = category.as_str().unwrap_or_default();
                let detail = format!(
                    "The file is that of the category \"{slug}\"; move the term into its own, or leave this out."
                );
                self.flaw(entry.node.at, format!("{pointer}/category"), "other_category", detail);
            }
        }
        self.documents.push(Found { kind, at: node.at, pointer, document, inherits: category.is_some() });
    }
}

/// The names of the files of an export, each of a category: `<slug>.yaml`, but never that of the companies.
#[must_use]
pub fn file_name(category: &str) -> String {
    // As many more of the word as the slug has already, so that no two categories have one file.
    let rest = category.strip_prefix("companies").map(|rest| rest.replace("-category", ""));
    if rest.as_deref() == Some("") { format!("{category}-category.yaml") } else { format!("{category}.yaml") }
}

/// The file of an export that has the companies.
pub const COMPANIES: &str = "companies.yaml";

#[cfg(test)]
mod tests;
