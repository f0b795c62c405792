//! Documents as YAML that people read and git compares: each member in its place, what has its default left out.

use std::fmt::Write as _;

use super::tree::plain;
use crate::{
    categories::CategoryDocument,
    companies::{CompanyDocument, CompanyStatus},
    editorial::document::Choice as _,
    http::slug::Slug,
    terms::{Alias, Source, TermDocument, TermStatus},
};

/// What an editor finds the file's schema by; beside the file.
const HEAD: &str = "# yaml-language-server: $schema=glossary.schema.json\n";

/// How long a line may be that can be broken.
const WIDTH: usize = 120;

/// The file of a category and its terms, in the order that they come in.
#[must_use]
pub fn category(category: &CategoryDocument<String>, terms: &[TermDocument<String>]) -> String {
    let mut text = Text::new();
    let CategoryDocument { slug, name, description, parent, rank } = category;
    text.line(0, "category:");
    text.slug(2, slug.as_ref());
    text.member(2, "name", name.as_str());
    text.folded(2, "description", description);
    text.line(
        2,
        &format!("parent: {}", parent.as_deref().map_or_else(|| "null".to_owned(), |slug| scalar(slug, false))),
    );
    if *rank != 0 {
        text.line(2, &format!("rank: {rank}"));
    }
    if !terms.is_empty() {
        text.out.push('\n');
        text.documents("terms", terms, Text::term);
    }
    text.out
}

/// The file of the companies.
#[must_use]
pub fn companies(companies: &[CompanyDocument<String>]) -> String {
    let mut text = Text::new();
    text.documents("companies", companies, Text::company);
    text.out
}

struct Text {
    out: String,
}

impl Text {
    fn new() -> Self {
        Text { out: HEAD.to_owned() }
    }

    fn documents<D>(&mut self, member: &str, documents: &[D], write: fn(&mut Text, &D)) {
        self.line(0, &format!("{member}:"));
        for (index, document) in documents.iter().enumerate() {
            if index > 0 {
                self.out.push('\n');
            }
            self.item(2, |text| write(text, document));
        }
    }

    /// An item of a list: its lines stand two columns further in, and the first has the dash.
    fn item(&mut self, indent: usize, write: impl FnOnce(&mut Text)) {
        let begin = self.out.len() + indent;
        write(self);
        self.out.replace_range(begin..=begin, "-");
    }

    /// All but the category, which is that of the file.
    fn term(&mut self, term: &TermDocument<String>) {
        const INDENT: usize = 4;
        let TermDocument {
            slug,
            name,
            definition,
            body,
            category: _,
            status,
            reviewed_on,
            aliases,
            related,
            broader,
            replaced_by,
            companies,
            sources,
        } = term;
        self.slug(INDENT, slug.as_ref());
        self.member(INDENT, "name", name.as_str());
        self.folded(INDENT, "definition", definition);
        self.literal(INDENT, "body", body.as_str());
        if *status != TermStatus::Draft {
            self.member(INDENT, "status", status.as_str());
        }
        if let Some(day) = reviewed_on {
            self.line(INDENT, &format!("reviewed_on: {day}"));
        }
        self.list(INDENT, "aliases", aliases, Text::alias);
        self.slugs(INDENT, "related", related);
        self.slugs(INDENT, "broader", broader);
        self.slugs(INDENT, "replaced_by", replaced_by);
        self.slugs(INDENT, "companies", companies);
        self.list(INDENT, "sources", sources, Text::source);
    }

    fn alias(&mut self, indent: usize, alias: &Alias) {
        let Alias { name, kind } = alias;
        self.line(indent, &format!("- {{ name: {}, kind: {} }}", scalar(name.as_str(), true), kind.as_str()));
    }

    fn source(&mut self, indent: usize, source: &Source) {
        let Source { title, url, publisher, published_on } = source;
        self.item(indent, |text| {
            let indent = indent + 2;
            text.member(indent, "title", title);
            text.member(indent, "url", url);
            if let Some(publisher) = publisher {
                text.member(indent, "publisher", publisher);
            }
            if let Some(day) = published_on {
                text.line(indent, &format!("published_on: {day}"));
            }
        });
    }

    fn company(&mut self, company: &CompanyDocument<String>) {
        const INDENT: usize = 4;
        let CompanyDocument { slug, name, description, website, country, founded_year, status, categories } = company;
        self.slug(INDENT, slug.as_ref());
        self.member(INDENT, "name", name.as_str());
        self.folded(INDENT, "description", description);
        if let Some(website) = website {
            self.member(INDENT, "website", website);
        }
        if let Some(country) = country {
            self.member(INDENT, "country", country);
        }
        if let Some(year) = founded_year {
            self.line(INDENT, &format!("founded_year: {year}"));
        }
        if *status != CompanyStatus::Draft {
            self.member(INDENT, "status", status.as_str());
        }
        self.slugs(INDENT, "categories", categories);
    }

    fn line(&mut self, indent: usize, line: &str) {
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.out.push_str(line);
        self.out.push('\n');
    }

    fn member(&mut self, indent: usize, name: &str, value: &str) {
        self.line(indent, &format!("{name}: {}", scalar(value, false)));
    }

    fn slug(&mut self, indent: usize, slug: Option<&Slug>) {
        if let Some(slug) = slug {
            self.member(indent, "slug", slug.as_str());
        }
    }

    fn list<T>(&mut self, indent: usize, name: &str, items: &[T], write: fn(&mut Text, usize, &T)) {
        if !items.is_empty() {
            self.line(indent, &format!("{name}:"));
            items.iter().for_each(|item| write(self, indent + 2, item));
        }
    }

    /// On one line if they fit there.
    fn slugs(&mut self, indent: usize, name: &str, slugs: &[String]) {
        let slugs: Vec<String> = slugs.iter().map(|slug| scalar(slug, true)).collect();
        let line = format!("{name}: [{}]", slugs.join(", "));
        if !slugs.is_empty() && indent + line.chars().count() <= WIDTH {
            self.line(indent, &line);
        } else {
            self.list(indent, name, &slugs, |text, indent, slug| text.line(indent, &format!("- {slug}")));
        }
    }

    /// A text of one line, broken where a single space stands.
    fn folded(&mut self, indent: usize, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        if !value.chars().all(is_shown) || value.trim_matches(' ') != value {
            return self.member(indent, name, value);
        }
        self.line(indent, &format!("{name}: >-"));
        let room = WIDTH - indent - 2;
        let (mut line, mut length) = (String::new(), 0);
        for word in words(value) {
            let word_length = word.chars().count();
            if length > 0 && length + 1 + word_length > room {
                self.line(indent + 2, &line);
                (line, length) = (String::new(), 0);
            }
            if length > 0 {
                line.push(' ');
                length += 1;
            }
            line.push_str(word);
            length += word_length;
        }
        self.line(indent + 2, &line);
    }

    /// A text as it is, line by line.
    fn literal(&mut self, indent: usize, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let content = value.strip_suffix('\n').unwrap_or(value);
        let last = content.rsplit('\n').next().unwrap_or_default();
        // A block can't say how many empty lines it ends with, since others follow it.
        let is_block = value.chars().all(|c| is_shown(c) || matches!(c, '\n' | '\t'))
            && !last.trim_matches([' ', '\t']).is_empty();
        if !is_block {
            return self.member(indent, name, value);
        }
        // Where the first line begins with space, how far it stands in has to be said.
        let hint = if content.starts_with([' ', '\n', '\t']) { "2" } else { "" };
        let end = if content.len() == value.len() { "-" } else { "" };
        self.line(indent, &format!("{name}: |{hint}{end}"));
        for line in content.split('\n') {
            self.line(if line.is_empty() { 0 } else { indent + 2 }, line);
        }
    }
}

/// The parts of a text between which it may be broken: where folding puts a single space again.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.match_indices(' ').map(|(at, _)| at).find(|at| {
            let (before, after) = text.split_at(*at);
            !before.is_empty() && !before.ends_with(' ') && !after.get(1..).unwrap_or_default().starts_with(' ')
        });
        let (word, after) = end.and_then(|end| text.split_at_checked(end)).unzip();
        rest = after.and_then(|after| after.get(1..));
        Some(word.unwrap_or(text))
    })
}

/// Whether a character stands for itself in YAML, without ending a line or vanishing.
fn is_shown(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A text on one line: in quotes where it would be read as something else.
fn scalar(text: &str, flow: bool) -> String {
    if is_plain(text, flow) { text.to_owned() } else { quoted(text) }
}

fn is_plain(text: &str, flow: bool) -> bool {
    const INDICATORS: &[char] =
        &['-', '?', ':', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`', '=', '<'];
    let is_text = matches!(plain(text), Some(serde_json::Value::String(_))) && !is_old_value(text);
    is_text
        && text.chars().all(is_shown)
        && text.trim() == text
        && !text.starts_with(INDICATORS)
        && !text.ends_with(':')
        && !text.contains(": ")
        && !text.contains(" #")
        && !(flow && text.contains([',', '[', ']', '{', '}', ':']))
}

/// Whether readers of YAML 1.1 take a text for a truth value, a number or a time. Norway is `NO`.
fn is_old_value(text: &str) -> bool {
    let word = text.to_ascii_lowercase();
    ["y", "n", "yes", "no", "on", "off"].contains(&word.as_str())
        || text.starts_with("0b")
        || text.chars().all(|c| c.is_ascii_digit() || matches!(c, '_' | '.' | ':' | '+' | '-' | 'e' | 'E'))
            && text.contains(|c: char| c.is_ascii_digit())
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if is_shown(c) => quoted.push(c),
            // A string takes all that is written to it.
            c => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
        }
    }
    quoted.push('"');
    quoted
}
