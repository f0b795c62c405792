//! `termbase check`: every mistake of files before they are imported, without a database.
//!
//! All files are one glossary. The documents are read and resolved by the same code as in a write; what a write leaves to
//! the database (slugs, names, cycles) is looked for here, and what readers would stumble over as well.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Write as _,
    fs::File,
    io::{BufReader, Write as _},
    path::{Path, PathBuf},
};

use pulldown_cmark::{Event, Parser, Tag};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    import::YAML_MAX_BYTES,
    ndjson::{self, Line, Lines},
    yaml::{self, Found, Mark},
};
use crate::{
    categories::CategoryDocument,
    companies::CompanyDocument,
    editorial::{
        Deletion, Entity, Kind, Names,
        document::{Choice as _, Reference},
    },
    error::Fault,
    http::slug::Slug,
    markdown,
    names::Name,
    terms::{TermDocument, TermStatus},
};

/// How many levels the tree of categories may have; the database holds the same.
const LEVELS_MAX: usize = 20;

/// Checks files, prints what was found, and sums it up.
///
/// # Errors
/// The summary, where there is a mistake; what can't be read.
pub fn run(paths: &[PathBuf]) -> Result<(), Box<dyn std::error::Error>> {
    let files = files(paths)?;
    let mut glossary = Glossary::default();
    for path in &files {
        glossary.read(path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    }
    glossary.check();
    match std::io::stdout().write_all(glossary.report().as_bytes()) {
        // Whoever reads has read enough: `head`, say.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    let summary = glossary.summary();
    if glossary.findings.iter().any(|finding| !finding.is_hint) {
        return Err(summary.into());
    }
    eprintln!("termbase: {summary}");
    Ok(())
}

/// The files that paths stand for: themselves, or those of a folder in the order of their names.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Box<dyn std::error::Error>> {
    let mut files = Vec::new();
    for path in paths {
        let unreadable = |error| format!("{} can't be read: {error}", path.display());
        if !path.metadata().map_err(unreadable)?.is_dir() {
            if !is_yaml(path) && extension(path) != "ndjson" {
                let shown = path.display();
                return Err(format!("{shown} is no file of a glossary: expected .yaml, .yml or .ndjson").into());
            }
            files.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in path.read_dir().map_err(unreadable)? {
            let inner = entry.map_err(unreadable)?.path();
            if is_yaml(&inner) || extension(&inner) == "ndjson" {
                inside.push(inner);
            }
        }
        if inside.is_empty() {
            return Err(format!("{} has no files that end in .yaml, .yml or .ndjson", path.display()).into());
        }
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

pub(super) fn is_yaml(path: &Path) -> bool {
    matches!(extension(path), "yaml" | "yml")
}

/// All the files.
#[derive(Default)]
struct Glossary {
    files: Vec<Source>,
    entries: Vec<Entry>,
    names: Names,
    findings: Vec<Finding>,
    /// Whether a file can't be read to its end: what is referred to may be in the rest of it.
    broken: bool,
}

struct Source {
    name: String,
    /// `None` for NDJSON, where a document has a line and no more.
    yaml: Option<yaml::File>,
}

/// A document of the files.
struct Entry {
    file: usize,
    found: Found,
    id: Uuid,
    slug: Slug,
    former_slugs: Vec<Slug>,
    deleted: bool,
    document: Option<Document>,
}

/// A document that has no fault of its own.
#[derive(Clone)]
enum Document {
    Category(CategoryDocument),
    Company(CompanyDocument),
    Term(Box<TermDocument>),
}

struct Finding {
    /// Worth a look, and no mistake.
    is_hint: bool,
    file: usize,
    at: Mark,
    code: String,
    detail: String,
}

impl Entry {
    fn term(&self) -> Option<&TermDocument> {
        match &self.document {
            Some(Document::Term(term)) => Some(term),
            _ => None,
        }
    }
}

impl Glossary {
    fn read(&mut self, path: &Path) -> std::io::Result<()> {
        let name = path.display().to_string();
        let mut lines = Lines::of(BufReader::new(File::open(path)?));
        if is_yaml(path) {
            let mut yaml = yaml::File::read(&lines.rest(YAML_MAX_BYTES)?);
            let documents = std::mem::take(&mut yaml.documents);
            self.read_yaml(&yaml, documents);
            self.files.push(Source { name, yaml: Some(yaml) });
        } else {
            self.read_lines(&mut lines)?;
            self.files.push(Source { name, yaml: None });
        }
        Ok(())
    }

    fn read_yaml(&mut self, yaml: &yaml::File, documents: Vec<Found>) {
        for flaw in &yaml.flaws {
            self.broken |= matches!(flaw.code, "syntax" | "too_deep" | "several_documents");
            self.mistake(self.files.len(), flaw.at, Fault::body("", flaw.code, flaw.detail.clone()));
        }
        for found in documents {
            let (document, faults) = parse(found.kind, &found.document);
            for fault in faults {
                let pointer = fault.pointer.as_deref().unwrap_or_default();
                let whole = format!("{}{pointer}", found.pointer);
                // What follows from a mistake that is told of already.
                let follows =
                    found.inherits && pointer == "/category" || yaml.flaws.iter().any(|flaw| flaw.pointer == whole);
                if !follows {
                    self.mistake(self.files.len(), yaml.place(&found, &fault), fault);
                }
            }
            self.enter(found, document, None, Vec::new(), false);
        }
    }

    fn read_lines(&mut self, lines: &mut Lines<BufReader<File>>) -> std::io::Result<()> {
        while let Some((number, line)) = lines.next_line()? {
            let at = Mark { line: number, column: 1 };
            let line = line.map_err(|fault| vec![fault]).and_then(|line| ndjson::parse(0, number, line));
            match line {
                Ok(Line::Revision(_)) => {}
                Ok(Line::Entity(incoming)) => {
                    let (document, faults) = parse(incoming.kind, &incoming.document);
                    faults.into_iter().for_each(|fault| self.mistake(self.files.len(), at, at_pointer(fault)));
                    let record = incoming.record.unwrap_or_default();
                    let deleted = matches!(record.deletion, Deletion::Deleted(_));
                    let former =
                        record.former_slugs.iter().filter_map(|former| Slug::parse(&former.slug).ok()).collect();
                    let found = Found {
                        kind: incoming.kind,
                        at,
                        pointer: String::new(),
                        document: incoming.document,
                        inherits: false,
                    };
                    self.enter(found, document, record.id, former, deleted);
                }
                Err(faults) => {
                    self.broken = true;
                    faults.into_iter().for_each(|fault| self.mistake(self.files.len(), at, at_pointer(fault)));
                }
            }
        }
        Ok(())
    }

    fn enter(
        &mut self,
        found: Found,
        document: Option<Document>,
        id: Option<Uuid>,
        former_slugs: Vec<Slug>,
        deleted: bool,
    ) {
        let text = |member: &str| found.document.get(member).and_then(Value::as_str).unwrap_or_default();
        let slug = Slug::parse(text("slug")).unwrap_or_else(|_| Slug::from_name(text("name")));
        let id = id.unwrap_or_else(|| Uuid::from_u128(self.entries.len() as u128 + 1));
        self.entries.push(Entry { file: self.files.len(), found, id, slug, former_slugs, deleted, document });
    }

    fn mistake(&mut self, file: usize, at: Mark, fault: Fault) {
        self.findings.push(Finding { is_hint: false, file, at, code: fault.code, detail: fault.detail });
    }

    /// Where a fault of a document stands.
    fn place(&self, entry: &Entry, fault: &Fault) -> Mark {
        let yaml = self.files.get(entry.file).and_then(|file| file.yaml.as_ref());
        yaml.map_or(entry.found.at, |yaml| yaml.place(&entry.found, fault))
    }

    fn finding(&self, is_hint: bool, entry: &Entry, fault: Fault) -> Finding {
        let at = self.place(entry, &fault);
        let fault = if self.is_yaml(entry) { fault } else { at_pointer(fault) };
        Finding { is_hint, file: entry.file, at, code: fault.code, detail: fault.detail }
    }

    fn is_yaml(&self, entry: &Entry) -> bool {
        self.files.get(entry.file).is_some_and(|file| file.yaml.is_some())
    }

    fn place_name(&self, entry: &Entry) -> String {
        let file = self.files.get(entry.file).map(|file| file.name.as_str()).unwrap_or_default();
        format!("{file}:{}", entry.found.at.line)
    }

    fn check(&mut self) {
        let mut findings = self.claim_slugs();
        findings.extend(self.claim_names());
        findings.extend(self.resolve());
        findings.extend(self.cycles());
        findings.extend(self.levels());
        findings.extend(self.sources());
        findings.extend(self.dead_links());
        findings.extend(self.relations());
        // A file that can't be read to its end may have in the rest of it what is referred to.
        findings.retain(|finding| !self.broken || !["unknown_reference", "dead_link"].contains(&finding.code.as_str()));
        self.findings.extend(findings);
        self.findings.sort_by(|a, b| (a.is_hint, a.file, a.at, &a.code).cmp(&(b.is_hint, b.file, b.at, &b.code)));
    }

    /// Each slug names one entity; whose it is first keeps it.
    fn claim_slugs(&mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut holders: HashMap<(Kind, Slug), usize> = HashMap::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let kind = entry.found.kind;
            let former = entry.former_slugs.iter().enumerate();
            let former = former.map(|(at, slug)| (slug, format!("/former_slugs/{at}")));
            for (slug, pointer) in former.chain([(&entry.slug, "/slug".to_owned())]) {
                let holder = *holders.entry((kind, slug.clone())).or_insert(index);
                match self.entries.get(holder).filter(|_| holder != index) {
                    Some(first) if entry.found.document.get("slug").is_some_and(|slug| !slug.is_null()) => {
                        let place = self.place_name(first);
                        let detail =
                            format!("The slug \"{slug}\" stands in {place} too; choose another, or leave one out.");
                        findings.push(self.finding(false, entry, Fault::body(pointer, "slug_taken", detail)));
                    }
                    // One that is made from a name gets a number where it is taken.
                    Some(_) => {}
                    None => self.names.add(kind, slug, entry.id),
                }
            }
            self.names.mark(entry.id, entry.deleted);
        }
        findings
    }

    /// Names are unique among the terms, and among the categories.
    fn claim_names(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut holders: HashMap<(Kind, String), &Entry> = HashMap::new();
        for entry in self.entries.iter().filter(|entry| entry.found.kind != Kind::Company && !entry.deleted) {
            let name = entry.found.document.get("name").and_then(Value::as_str).map(Name::parse);
            let Some(Ok(name)) = name else { continue };
            match holders.get(&(entry.found.kind, name.key().to_owned())) {
                Some(first) => {
                    let place = self.place_name(first);
                    let detail =
                        format!("The name stands in {place} too, case, accents and punctuation aside; choose another.");
                    findings.push(self.finding(false, entry, Fault::body("/name", "name_taken", detail)));
                }
                None => drop(holders.insert((entry.found.kind, name.key().to_owned()), entry)),
            }
        }
        findings
    }

    /// What the documents refer to, by the same code as in a write.
    fn resolve(&mut self) -> Vec<Finding> {
        let mut references = BTreeSet::new();
        let mut add = |kind: Kind, reference: &Reference| {
            references.insert((kind, reference.clone()));
        };
        for document in self.entries.iter().filter_map(|entry| entry.document.as_ref()) {
            match document {
                Document::Category(category) => CategoryDocument::<Uuid>::references(category, &mut add),
                Document::Company(company) => CompanyDocument::<Uuid>::references(company, &mut add),
                Document::Term(term) => <TermDocument<Uuid> as Entity>::references(term, &mut add),
            }
        }
        self.names.guess_closest(&references);
        let mut faults = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let slug = entry.slug.clone();
            match entry.document.clone() {
                Some(Document::Category(category)) => drop(CategoryDocument::resolve(category, slug, &mut self.names)),
                Some(Document::Company(company)) => drop(CompanyDocument::resolve(company, slug, &mut self.names)),
                Some(Document::Term(term)) => drop(TermDocument::resolve(*term, slug, &mut self.names)),
                None => {}
            }
            // A slug that two claim, or that is no slug, is told of.
            let of_entry =
                self.names.take_faults().into_iter().filter(|fault| fault.pointer.as_deref() != Some("/slug"));
            faults.extend(of_entry.map(|fault| (index, fault)));
        }
        let told =
            faults.into_iter().filter_map(|(index, fault)| Some(self.finding(false, self.entries.get(index)?, fault)));
        told.collect()
    }

    /// The entities that a member of an entity names, itself aside.
    fn named(&self, entry: &Entry, member: &str) -> Vec<Uuid> {
        let (kind, references) = match (&entry.document, member) {
            (Some(Document::Category(category)), "parent") => (Kind::Category, category.parent.as_slice()),
            (Some(Document::Term(term)), "broader") => (Kind::Term, term.broader.as_slice()),
            (Some(Document::Term(term)), "replaced_by") => (Kind::Term, term.replaced_by.as_slice()),
            _ => return Vec::new(),
        };
        let ids = references.iter().filter_map(|reference| self.names.get(kind, reference));
        ids.filter(|id| *id != entry.id).collect()
    }

    /// Every document whose links lead back to it.
    fn cycles(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for member in ["broader", "replaced_by", "parent"] {
            let edges: HashMap<Uuid, Vec<Uuid>> =
                self.entries.iter().map(|entry| (entry.id, self.named(entry, member))).collect();
            let edges = without_ends(edges);
            for entry in self.entries.iter().filter(|entry| leads_back(&edges, entry.id)) {
                let detail = format!("The {member} relations lead back to where they began; leave one of them out.");
                findings.push(self.finding(false, entry, Fault::body(format!("/{member}"), "cycle", detail)));
            }
        }
        findings
    }

    /// Categories below the deepest level that there may be.
    fn levels(&self) -> Vec<Finding> {
        let parents: HashMap<Uuid, Uuid> =
            self.entries.iter().filter_map(|entry| Some((entry.id, *self.named(entry, "parent").first()?))).collect();
        let level = |entry: &&Entry| {
            let above = std::iter::successors(Some(entry.id), |id| parents.get(id).copied());
            above.take(LEVELS_MAX * 10).count()
        };
        // Further down, and where they go round in a circle, it is told of already.
        let first_below = self.entries.iter().filter(|entry| level(entry) == LEVELS_MAX + 1);
        let detail = "The tree of categories would have more than 20 levels; choose a parent further up.";
        first_below.map(|entry| self.finding(false, entry, Fault::body("/parent", "too_deep", detail))).collect()
    }

    fn live_terms(&self) -> impl Iterator<Item = (&Entry, &TermDocument)> {
        self.entries.iter().filter(|entry| !entry.deleted).filter_map(|entry| Some((entry, entry.term()?)))
    }

    fn sources(&self) -> Vec<Finding> {
        let bare = |term: &TermDocument| term.status == TermStatus::Published && term.sources.is_empty();
        let detail = "A published term names at least one source; add it, or leave the term a draft.";
        let bare = self.live_terms().filter(|(_, term)| bare(term));
        bare.map(|(entry, _)| self.finding(false, entry, Fault::body("/sources", "missing_source", detail))).collect()
    }

    /// Links of bodies that lead to nothing in the glossary.
    fn dead_links(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (entry, term) in self.live_terms() {
            for link in links(term.body.as_str()) {
                let reference = match Uuid::try_parse(link.slug) {
                    Ok(id) => Some(Reference::Id(id)),
                    Err(_) => Slug::parse(link.slug).map(Reference::Slug).ok(),
                };
                let id = reference.and_then(|reference| self.names.get(link.kind, &reference));
                let detail = match id {
                    Some(id) if self.names.is_deleted(id) => {
                        format!("The {} \"{}\" is deleted; leave the link out.", link.kind.as_str(), link.slug)
                    }
                    Some(_) => continue,
                    None => {
                        let closest = self.names.nearest(link.kind, link.slug);
                        crate::editorial::unknown(link.kind, link.slug, closest.as_ref())
                    }
                };
                let mut finding = self.finding(false, entry, Fault::body("/body", "dead_link", detail));
                if let Some(yaml) = self.files.get(entry.file).and_then(|file| file.yaml.as_ref()) {
                    finding.at = yaml.place_in_text(&entry.found, "body", link.written, link.offset);
                }
                findings.push(finding);
            }
        }
        findings
    }

    /// Relations that are worth a look.
    fn relations(&self) -> Vec<Finding> {
        let terms: HashMap<Uuid, (&Entry, &TermDocument)> =
            self.live_terms().map(|(entry, term)| (entry.id, (entry, term))).collect();
        let names = |references: &[Reference], id: Uuid| {
            references.iter().any(|reference| self.names.get(Kind::Term, reference) == Some(id))
        };
        let mut findings = Vec::new();
        let mut seen = HashSet::new();
        for (entry, term) in self.live_terms() {
            for (index, reference) in term.related.iter().enumerate() {
                let other = self.names.get(Kind::Term, reference).and_then(|id| terms.get(&id));
                let Some((other_entry, other)) = other.filter(|(other, _)| other.id != entry.id) else { continue };
                let mut hint = |code: &str, detail: String| {
                    findings.push(self.finding(true, entry, Fault::body(format!("/related/{index}"), code, detail)));
                };
                let slug = &other_entry.slug;
                if names(&other.related, entry.id)
                    && !seen.insert((other_entry.id.min(entry.id), other_entry.id.max(entry.id)))
                {
                    hint("related_twice", format!("\"{slug}\" names this term already; one of the two is enough."));
                }
                if term.status == TermStatus::Published && other.status != TermStatus::Published {
                    let status = other.status.as_str();
                    hint("related_unpublished", format!("\"{slug}\" is {status}; readers look for what is published."));
                }
                if names(&term.broader, other_entry.id) || names(&other.broader, entry.id) {
                    let detail = format!("\"{slug}\" is broader or narrower already; it need not be related too.");
                    hint("related_broader", detail);
                }
            }
        }
        findings
    }

    fn report(&self) -> String {
        let mut report = String::new();
        for Finding { is_hint, file, at, code, detail } in &self.findings {
            let name = self.files.get(*file).map(|file| file.name.as_str()).unwrap_or_default();
            let hint = if *is_hint { "hint: " } else { "" };
            // A string takes all that is written to it.
            let _ = writeln!(report, "{name}:{}:{}: {hint}{code}: {detail}", at.line, at.column);
        }
        report
    }

    fn summary(&self) -> String {
        let of_kind = |kind: Kind| self.entries.iter().filter(|entry| entry.found.kind == kind).count();
        let hints = self.findings.iter().filter(|finding| finding.is_hint).count();
        let unread =
            if self.broken { "; references were not looked at, since a file can't be read to its end" } else { "" };
        format!(
            "mistakes: {}, hints: {hints}; files: {}, categories: {}, companies: {}, terms: {}{unread}",
            self.findings.len() - hints,
            self.files.len(),
            of_kind(Kind::Category),
            of_kind(Kind::Company),
            of_kind(Kind::Term)
        )
    }
}

/// In a line that holds all of a document, the member has to be said.
fn at_pointer(fault: Fault) -> Fault {
    match fault.pointer.as_deref() {
        None | Some("") => fault,
        Some(pointer) => Fault { detail: format!("{pointer}: {}", fault.detail), ..fault },
    }
}

fn parse(kind: Kind, document: &Map<String, Value>) -> (Option<Document>, Vec<Fault>) {
    let value = Value::Object(document.clone());
    let parsed = match kind {
        Kind::Category => CategoryDocument::parse(&value).map(Document::Category),
        Kind::Company => CompanyDocument::parse(&value).map(Document::Company),
        Kind::Term => TermDocument::parse(&value).map(|term| Document::Term(Box::new(term))),
    };
    match parsed {
        Ok(document) => (Some(document), Vec::new()),
        Err(faults) => (None, faults),
    }
}

/// A link of a body into the glossary.
struct Link<'b> {
    kind: Kind,
    slug: &'b str,
    /// What stands in the body, and from which byte on.
    written: &'b str,
    offset: usize,
}

fn links(body: &str) -> Vec<Link<'_>> {
    let events = Parser::new_ext(body, markdown::OPTIONS).into_offset_iter();
    let links = events.filter_map(|(event, span)| {
        let Event::Start(Tag::Link { dest_url, .. }) = event else { return None };
        let text = body.get(span.clone())?;
        // A link by reference has its address elsewhere.
        let at = text.rfind(&*dest_url).map(|at| span.start + at).or_else(|| body.rfind(&*dest_url))?;
        let written = body.get(at..at + dest_url.len())?;
        let path = written.split(['#', '?']).next()?;
        let (kind, slug) = [Kind::Term, Kind::Category, Kind::Company].into_iter().find_map(|kind| {
            let slug = path.strip_prefix('/')?.strip_prefix(kind.plural())?.strip_prefix('/')?;
            (!slug.is_empty() && !slug.contains('/')).then_some((kind, slug))
        })?;
        Some(Link { kind, slug, written, offset: at })
    });
    links.collect()
}

/// The edges between what can be on a cycle: what leads nowhere, or is led to from nowhere, is not.
fn without_ends(mut edges: HashMap<Uuid, Vec<Uuid>>) -> HashMap<Uuid, Vec<Uuid>> {
    loop {
        let known = edges.len();
        edges.retain(|_, others| !others.is_empty());
        let led_to: HashSet<Uuid> = edges.values().flatten().copied().collect();
        edges.retain(|id, _| led_to.contains(id));
        let there: HashSet<Uuid> = edges.keys().copied().collect();
        edges.values_mut().for_each(|others| others.retain(|id| there.contains(id)));
        if edges.len() == known {
            return edges;
        }
    }
}

fn leads_back(edges: &HashMap<Uuid, Vec<Uuid>>, start: Uuid) -> bool {
    let mut waiting: Vec<Uuid> = edges.get(&start).cloned().unwrap_or_default();
    let mut seen = HashSet::new();
    while let Some(id) = waiting.pop() {
        if id == start {
            return true;
        }
        if seen.insert(id) {
            waiting.extend(edges.get(&id).into_iter().flatten());
        }
    }
    false
}
