//! The plain model: documents in a map, and the design's rules over them.
//!
//! It knows nothing of SQL, locks or transactions: a write is a function from one state to the next, or the status that
//! refuses it. Entities have numbers here; links in documents are numbers, and slugs where they come from a request.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use termbase::{editorial::Kind, tokens::Role};

use super::operations::{Action, Operation, Tag};

pub type Document = Map<String, Value>;

#[derive(Debug, Clone)]
pub struct State {
    pub entities: BTreeMap<usize, Entity>,
    /// Every slug that an entity ever had, and whether it was public under it.
    pub slugs: BTreeMap<(Kind, String), (usize, bool)>,
    /// How many changes the log has.
    pub position: i64,
    made: usize,
    writes: usize,
}

#[derive(Debug, Clone)]
pub struct Entity {
    pub kind: Kind,
    /// Given by the service, and learnt from its answer.
    pub id: String,
    pub slug: String,
    pub document: Document,
    pub was_public: bool,
    /// By which write it was changed last, and by which it became public: the order of its dates.
    pub updated: usize,
    pub published: Option<usize>,
    pub deleted: Option<Deletion>,
    /// The version is their number.
    pub revisions: Vec<Revision>,
}

#[derive(Debug, Clone)]
pub struct Deletion {
    pub position: i64,
    pub by: Role,
    pub version: usize,
}

#[derive(Debug, Clone)]
pub struct Revision {
    pub what: &'static str,
    pub by: Role,
    /// With slugs of its day.
    pub document: Value,
}

/// How an operation ends: its status, and the entity that it was about.
#[derive(Debug, Clone, Copy)]
pub struct End {
    pub status: u16,
    pub entity: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    One,
    /// Sorted, since its order says nothing.
    Set,
    List,
}

/// The members of a document that are links, and what they lead to.
pub fn links(kind: Kind) -> &'static [(&'static str, Kind, Shape)] {
    match kind {
        Kind::Term => &[
            ("category", Kind::Category, Shape::One),
            ("related", Kind::Term, Shape::Set),
            ("broader", Kind::Term, Shape::Set),
            ("replaced_by", Kind::Term, Shape::List),
            ("companies", Kind::Company, Shape::Set),
        ],
        Kind::Company => &[("categories", Kind::Category, Shape::Set)],
        Kind::Category => &[("parent", Kind::Category, Shape::One)],
    }
}

/// What an absent member means, and a null; a string without a character is none, so the member must be there.
fn defaults(kind: Kind) -> Document {
    let defaults = match kind {
        Kind::Term => json!({
            "name": "", "definition": "", "body": null, "category": "", "status": "draft", "reviewed_on": null,
            "aliases": [], "related": [], "broader": [], "replaced_by": [], "companies": [], "sources": [],
        }),
        Kind::Company => json!({
            "name": "", "description": null, "website": null, "country": null, "founded_year": null, "status": "draft",
            "categories": [],
        }),
        Kind::Category => json!({"name": "", "description": null, "parent": null, "rank": 0}),
    };
    defaults.as_object().unwrap().clone()
}

/// Texts that may be empty, and then are no null.
const EMPTY_TEXTS: [&str; 2] = ["body", "description"];

pub fn fold(name: &Value) -> String {
    name.as_str().unwrap_or_default().to_lowercase()
}

fn require(has: Role, needed: Role) -> Result<(), u16> {
    if has < needed { Err(403) } else { Ok(()) }
}

/// What readers see, before or after, is the editors', in the trash as well; and all categories are.
fn needed(kind: Kind, public: bool) -> Role {
    if kind == Kind::Category || public { Role::Editor } else { Role::Contributor }
}

pub fn items(document: &Document, member: &str) -> Vec<Value> {
    document[member].as_array().cloned().unwrap_or_default()
}

/// The entities that a member links to.
pub fn linked(document: &Document, member: &str) -> Vec<usize> {
    let one = |value: &Value| value.as_u64().map(|number| usize::try_from(number).unwrap());
    match document.get(member) {
        Some(Value::Array(items)) => items.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => vec![],
    }
}

fn without(document: &Document, member: &str, gone: impl Fn(&Value) -> bool) -> Document {
    let mut document = document.clone();
    document[member].as_array_mut().unwrap().retain(|item| !gone(item));
    document
}

/// The item in the place of the one that is the same, or at the end.
fn with(document: &Document, member: &str, item: Value, same: impl Fn(&Value) -> bool) -> Document {
    let mut document = document.clone();
    let items = document[member].as_array_mut().unwrap();
    match items.iter_mut().find(|there| same(there)) {
        Some(there) => *there = item,
        None => items.push(item),
    }
    document
}

impl Entity {
    pub fn is_public(&self) -> bool {
        self.deleted.is_none() && shows(&self.document)
    }

    pub fn is_live(&self) -> bool {
        self.deleted.is_none()
    }

    pub fn has_status(&self, status: &str) -> bool {
        self.is_live() && self.document["status"] == status
    }

    pub fn address(&self) -> String {
        format!("/{}/{}", self.kind.plural(), self.slug)
    }
}

fn shows(document: &Document) -> bool {
    document.get("status").is_none_or(|status| status != "draft")
}

impl State {
    pub fn new() -> Self {
        State { entities: BTreeMap::new(), slugs: BTreeMap::new(), position: 0, made: 0, writes: 0 }
    }

    pub fn find(&self, kind: Kind, slug: &str) -> Option<&Entity> {
        self.slugs.get(&(kind, slug.to_owned())).map(|(number, _)| &self.entities[number])
    }

    /// What becomes of the state, and the status of the answer. What is refused changes nothing.
    pub fn apply(&mut self, operation: &Operation) -> End {
        let mut next = self.clone();
        next.writes += 1;
        match next.perform(operation) {
            Ok(end) => {
                *self = next;
                end
            }
            Err(status) => End { status, entity: None },
        }
    }

    fn perform(&mut self, operation: &Operation) -> Result<End, u16> {
        let Operation { role, tag, action } = operation;
        let kind = action.kind();
        if let Action::Purge { slug, .. } = action {
            require(*role, Role::Admin)?;
            return self.purge(*role, kind, slug);
        }
        require(*role, needed(kind, false))?;
        let changed = |entity: usize| Ok(End { status: 200, entity: Some(entity) });
        match action {
            Action::Create { document, .. } => self.create(*role, kind, document.as_object().unwrap().clone()),
            Action::Put { slug, document, .. } if self.find(kind, slug).is_none() => {
                if *tag == Tag::Stale {
                    return Err(412);
                }
                let mut document = document.as_object().unwrap().clone();
                if *document.entry("slug").or_insert(json!(slug)) != json!(slug) {
                    return Err(422);
                }
                self.create(*role, kind, document)
            }
            Action::Link { member, other, is_there, .. } => {
                let (_, other_kind, _) = links(kind).iter().find(|link| link.0 == *member).unwrap();
                let (other, _) = *self.slugs.get(&(*other_kind, other.clone())).ok_or(404_u16)?;
                let number = self.hold(operation, false)?;
                let document = &self.entities[&number].document;
                let new = match is_there {
                    true => with(document, member, json!(other), |there| *there == other),
                    false => without(document, member, |there| *there == other),
                };
                self.write(*role, kind, Some(number), new, "updated")?;
                if *member == "related"
                    && !is_there
                    && linked(&self.entities[&other].document, member).contains(&number)
                {
                    // Either side may have written it: it goes from both.
                    let new = without(&self.entities[&other].document, member, |there| *there == number);
                    self.write(*role, kind, Some(other), new, "updated")?;
                }
                changed(number)
            }
            Action::Delete { .. } => {
                let number = self.hold(operation, false)?;
                let stands_in = |other: &Entity| match other.kind {
                    Kind::Term => linked(&other.document, "category").contains(&number),
                    Kind::Category => other.is_live() && linked(&other.document, "parent").contains(&number),
                    Kind::Company => false,
                };
                if kind == Kind::Category && self.entities.values().any(stands_in) {
                    return Err(409);
                }
                let version = self.entities[&number].revisions.len() + 1;
                let deletion = Deletion { position: self.position, by: *role, version };
                self.entities.get_mut(&number).unwrap().deleted = Some(deletion);
                self.commit(*role, number, "deleted");
                Ok(End { status: 204, entity: None })
            }
            Action::Restore { .. } => {
                let number = self.hold(operation, true)?;
                if self.entities[&number].is_live() {
                    return changed(number);
                }
                self.entities.get_mut(&number).unwrap().deleted = None;
                let entity = self.entities[&number].clone();
                let parents = linked(&entity.document, "parent");
                if self.is_name_held(number, kind, &entity.document)
                    || parents.iter().any(|parent| !self.entities[parent].is_live())
                {
                    return Err(409);
                }
                self.commit(*role, number, "restored");
                changed(number)
            }
            action => {
                let (number, new) = self.rewritten(operation, action)?;
                changed(self.write(*role, kind, Some(number), new, "updated")?)
            }
        }
    }

    /// The new document of those operations that make one of the current one.
    fn rewritten(&self, operation: &Operation, action: &Action) -> Result<(usize, Document), u16> {
        let (kind, slug) = (action.kind(), action.slug());
        if let Action::Revert { version, .. } = action {
            let number = self.locate(kind, slug, false)?;
            self.entities[&number].revisions.get(version.wrapping_sub(1)).ok_or(404_u16)?;
        }
        let number = self.hold(operation, false)?;
        let entity = &self.entities[&number];
        let current = &entity.document;
        let new = match action {
            Action::Put { document, .. } => document.as_object().unwrap().clone(),
            Action::Patch { change, .. } => {
                let mut document = current.clone();
                document.extend(change.as_object().unwrap().clone());
                document
            }
            Action::Alias { name, as_kind: Some(as_kind), .. } => {
                let alias = json!({"name": name, "kind": as_kind});
                with(current, "aliases", alias.clone(), |there| fold(&there["name"]) == fold(&alias["name"]))
            }
            Action::Alias { name, as_kind: None, .. } => {
                without(current, "aliases", |there| fold(&there["name"]) == name.to_lowercase())
            }
            Action::Source { url, title: Some(title), .. } => {
                let source = json!({"title": title, "url": url, "publisher": null, "published_on": null});
                with(current, "sources", source, |there| there["url"] == *url)
            }
            Action::Source { url, title: None, .. } => without(current, "sources", |there| there["url"] == *url),
            Action::Revert { version, .. } => {
                let mut old = entity.revisions[version - 1].document.as_object().unwrap().clone();
                // What is public stays so.
                if old.get("status").is_some_and(|status| status == "draft") {
                    old["status"] = current["status"].clone();
                }
                old
            }
            other => unreachable!("{other:?}"),
        };
        Ok((number, new))
    }

    fn locate(&self, kind: Kind, slug: &str, trash: bool) -> Result<usize, u16> {
        let (number, _) = *self.slugs.get(&(kind, slug.to_owned())).ok_or(404_u16)?;
        let entity = &self.entities[&number];
        match (entity.is_live() || trash, entity.slug == slug) {
            (false, _) => Err(410),
            (true, false) => Err(308),
            (true, true) => Ok(number),
        }
    }

    /// The entity at the address, where the author may write it and has seen what is there.
    fn hold(&self, operation: &Operation, trash: bool) -> Result<usize, u16> {
        let kind = operation.action.kind();
        let number = self.locate(kind, operation.action.slug(), trash)?;
        require(operation.role, needed(kind, shows(&self.entities[&number].document)))?;
        if operation.tag == Tag::Stale { Err(412) } else { Ok(number) }
    }

    fn create(&mut self, role: Role, kind: Kind, written: Document) -> Result<End, u16> {
        Ok(End { status: 201, entity: Some(self.write(role, kind, None, written, "created")?) })
    }

    /// One document, validated whole. Rights come before faults, and faults before conflicts.
    fn write(
        &mut self,
        role: Role,
        kind: Kind,
        there: Option<usize>,
        mut written: Document,
        what: &'static str,
    ) -> Result<usize, u16> {
        let before = there.map(|number| self.entities[&number].clone());
        let asked = written.remove("slug").and_then(|slug| slug.as_str().map(ToOwned::to_owned));
        let mut document = complete(kind, written)?;
        let slug = match (asked, &before) {
            (Some(asked), _) => asked,
            (None, Some(before)) => before.slug.clone(),
            (None, None) => self.free_slug(kind, &fold(&document["name"])),
        };
        let number = there.unwrap_or(self.made);
        let resolved = self.resolve(kind, number, &slug, &mut document);
        let was_public = before.as_ref().is_some_and(|before| shows(&before.document));
        require(role, needed(kind, was_public || shows(&document)))?;
        resolved?;
        let holder = self.slugs.get(&(kind, slug.clone()));
        let back_to_draft = before.as_ref().is_some_and(|before| shows(&before.document)) && !shows(&document);
        if holder.is_some_and(|(holder, _)| *holder != number)
            || back_to_draft
            || (before.as_ref().is_none_or(Entity::is_live) && self.is_name_held(number, kind, &document))
        {
            return Err(409);
        }
        if before.is_some_and(|before| before.document == document && before.slug == slug) {
            return Ok(number);
        }
        if there.is_none() {
            self.made += 1;
        }
        let entity = self.entities.entry(number).or_insert_with(|| Entity {
            kind,
            id: String::new(),
            slug: String::new(),
            document: Document::new(),
            was_public: false,
            updated: 0,
            published: None,
            deleted: None,
            revisions: vec![],
        });
        (entity.slug, entity.document) = (slug, document);
        if links(kind).iter().any(|(member, ..)| self.leads_back(number, member)) {
            return Err(422);
        }
        self.commit(role, number, what);
        Ok(number)
    }

    /// References become numbers; a dead one is a fault, as one to the document itself is, or a category in the trash.
    fn resolve(&self, kind: Kind, own: usize, own_slug: &str, document: &mut Document) -> Result<(), u16> {
        let mut faults = 0;
        for (member, other_kind, shape) in links(kind) {
            let written = match &document[*member] {
                Value::Array(items) => items.clone(),
                Value::Null => vec![],
                one => vec![one.clone()],
            };
            let mut numbers = Vec::new();
            for reference in written {
                let number = match reference.as_str() {
                    Some(slug) if *other_kind == kind && slug == own_slug => Some(own),
                    Some(slug) => self.slugs.get(&(*other_kind, slug.to_owned())).map(|(number, _)| *number),
                    None => reference.as_u64().map(|number| usize::try_from(number).unwrap()),
                };
                let is_dead = |number| *shape == Shape::One && !self.entities[&number].is_live();
                match number {
                    Some(number) if number != own && !is_dead(number) && numbers.contains(&number) => {}
                    Some(number) if number != own && !is_dead(number) => numbers.push(number),
                    _ => faults += 1,
                }
            }
            if *shape == Shape::Set {
                numbers.sort_unstable();
            }
            document[*member] = if *shape == Shape::One { json!(numbers.first()) } else { json!(numbers) };
        }
        if faults == 0 { Ok(()) } else { Err(422) }
    }

    /// Made from the name, with a number where that is taken.
    fn free_slug(&self, kind: Kind, base: &str) -> String {
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let mut candidates = std::iter::once(base.to_owned()).chain(numbered);
        candidates.find(|slug| !self.slugs.contains_key(&(kind, slug.clone()))).unwrap()
    }

    /// Whether another live entity has this name. Companies may share one.
    fn is_name_held(&self, number: usize, kind: Kind, document: &Document) -> bool {
        kind != Kind::Company
            && self.entities.iter().any(|(other, entity)| {
                *other != number
                    && entity.kind == kind
                    && entity.is_live()
                    && fold(&entity.document["name"]) == fold(&document["name"])
            })
    }

    fn leads_back(&self, number: usize, member: &str) -> bool {
        if !["broader", "replaced_by", "parent"].contains(&member) {
            return false;
        }
        let mut ahead = linked(&self.entities[&number].document, member);
        let mut seen = BTreeSet::new();
        while let Some(next) = ahead.pop() {
            if seen.insert(next) {
                ahead.extend(linked(&self.entities[&next].document, member));
            }
        }
        seen.contains(&number)
    }

    /// Gone for good, and each document that had a link to it has a new version.
    fn purge(&mut self, role: Role, kind: Kind, slug: &str) -> Result<End, u16> {
        let (number, _) = *self.slugs.get(&(kind, slug.to_owned())).ok_or(404_u16)?;
        if self.entities[&number].is_live() {
            return Err(404);
        }
        let links_here = |entity: &Entity| {
            links(entity.kind).iter().any(|(member, ..)| linked(&entity.document, member).contains(&number))
        };
        let owners = self.entities.iter().filter(|(owner, entity)| **owner != number && links_here(entity));
        for owner in owners.map(|(owner, _)| *owner).collect::<Vec<_>>() {
            let entity = self.entities.get_mut(&owner).unwrap();
            for (member, _, shape) in links(entity.kind) {
                match shape {
                    Shape::One if entity.document[*member] == number => entity.document[*member] = Value::Null,
                    Shape::One => {}
                    Shape::Set | Shape::List => {
                        entity.document = without(&entity.document, member, |link| *link == number);
                    }
                }
            }
            if entity.document.get("status").is_some_and(|status| status == "deprecated")
                && items(&entity.document, "replaced_by").is_empty()
            {
                return Err(409);
            }
            self.commit(role, owner, "updated");
        }
        self.entities.remove(&number);
        self.slugs.retain(|_, (entity, _)| *entity != number);
        self.position += 1;
        Ok(End { status: 204, entity: None })
    }

    /// One version, one revision, one change.
    fn commit(&mut self, by: Role, number: usize, what: &'static str) {
        let document = self.spelled(number);
        let entity = self.entities.get_mut(&number).unwrap();
        entity.revisions.push(Revision { what, by, document });
        entity.was_public |= entity.is_public();
        entity.updated = self.writes;
        entity.published = entity.published.or(entity.is_public().then_some(self.writes));
        let is_public = entity.is_public();
        let (_, public) = self.slugs.entry((entity.kind, entity.slug.clone())).or_insert((number, false));
        *public |= is_public;
        self.position += 1;
    }

    /// The document as it is read: links as slugs of the day, sets sorted by them.
    pub fn spelled(&self, number: usize) -> Value {
        let entity = &self.entities[&number];
        let mut document = entity.document.clone();
        document.insert("slug".into(), json!(entity.slug));
        for (member, _, shape) in links(entity.kind) {
            let mut slugs: Vec<&str> =
                linked(&entity.document, member).iter().map(|other| self.entities[other].slug.as_str()).collect();
            if *shape == Shape::Set {
                slugs.sort_unstable();
            }
            document[*member] = if *shape == Shape::One { json!(slugs.first()) } else { json!(slugs) };
        }
        Value::Object(document)
    }
}

/// The document with its defaults, where it keeps the rules that need no look at others.
fn complete(kind: Kind, written: Document) -> Result<Document, u16> {
    let mut document = defaults(kind);
    for (member, value) in written {
        let place = document.get_mut(&member).ok_or(422_u16)?;
        if !value.is_null() {
            *place = value;
        } else if *place == "" {
            return Err(422);
        }
    }
    for text in EMPTY_TEXTS {
        document.entry(text).and_modify(|value| *value = json!(value.as_str().unwrap_or_default()));
    }
    let is_text = |member: &str| document.get(member).is_none_or(|value| value != "");
    let statuses: &[&str] =
        if kind == Kind::Term { &["draft", "published", "deprecated"] } else { &["draft", "published"] };
    let status = document.get("status").map(|status| status.as_str().unwrap_or_default());
    let mut names: Vec<String> = vec![fold(&document["name"])];
    if kind == Kind::Term {
        names.extend(items(&document, "aliases").iter().map(|alias| fold(&alias["name"])));
    }
    let is_well_formed = ["name", "definition", "category"].iter().all(|member| is_text(member))
        && status.is_none_or(|status| statuses.contains(&status))
        && names.iter().collect::<BTreeSet<_>>().len() == names.len()
        && (status != Some("deprecated") || !items(&document, "replaced_by").is_empty());
    // A category's parent may be absent; a member without a value may not have this shape.
    if is_well_formed { Ok(document) } else { Err(422) }
}
