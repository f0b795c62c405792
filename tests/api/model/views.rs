//! What every address must answer, by the plain model: pages from both ends, lists, totals, statuses, history, trash.

use serde_json::{Value, json};
use termbase::editorial::Kind;

use super::state::{Deletion, Entity, Revision, State, fold, items, linked};

/// A read, and what it must answer.
#[derive(Debug)]
pub struct Expected {
    pub path: String,
    /// With the token of a viewer, or none.
    pub as_viewer: bool,
    pub status: u16,
    pub location: Option<String>,
    /// A pattern: see [`matches`].
    pub body: Value,
}

/// Whether an answer is as expected: of an object the members named, of a list all items; a string stands for the object
/// that has it as its slug.
pub fn matches(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Object(members), _) => members.iter().all(|(name, value)| matches(value, &found[name])),
        (Value::Array(items), Value::Array(others)) => {
            items.len() == others.len() && items.iter().zip(others).all(|(item, other)| matches(item, other))
        }
        (Value::String(_), Value::Object(members)) => members.get("slug") == Some(expected),
        _ => expected == found,
    }
}

const KINDS: [Kind; 3] = [Kind::Term, Kind::Category, Kind::Company];

impl State {
    /// Every read: its answer follows from the state alone. `pool` are slugs that an entity may have some day.
    pub fn expectations(&self, pool: &[(Kind, String)]) -> Vec<Expected> {
        let mut all = Vec::new();
        let mut expect = |path: String, as_viewer, status, body| {
            all.push(Expected { path, as_viewer, status, location: None, body });
        };
        for (number, entity) in &self.entities {
            let address = entity.address();
            let shown = if entity.is_live() { (200, self.spelled(*number)) } else { (410, Value::Null) };
            expect(format!("{address}/document"), true, shown.0, shown.1);
            let count = entity.revisions.len();
            let numbered = (1..=count).rev().zip(entity.revisions.iter().rev());
            let whats: Vec<Value> = numbered
                .map(|(version, Revision { what, by, .. })| {
                    json!({"version": version, "what": what, "author": format!("test {by}")})
                })
                .collect();
            expect(format!("{address}/revisions?limit=100"), true, 200, json!({"items": whats, "total": count}));
            let old = count.div_ceil(2);
            let document = json!({"version": old, "document": entity.revisions[old - 1].document});
            expect(format!("{address}/revisions/{old}"), true, 200, document);
        }
        self.expect_lists(&mut expect);
        for kind in KINDS {
            let ids = self.entities.values().filter(|entity| entity.kind == kind).map(|entity| entity.id.clone());
            let held = self.slugs.keys().filter(|slug| slug.0 == kind).map(|slug| slug.1.clone());
            let free = pool.iter().filter(|slug| slug.0 == kind && !self.slugs.contains_key(*slug));
            for text in ids.chain(held).chain(free.map(|slug| slug.1.clone())) {
                all.extend([false, true].map(|as_viewer| self.expect_address(kind, &text, as_viewer)));
                if kind == Kind::Term {
                    all.extend([false, true].map(|as_viewer| self.expect_jsonld(&text, as_viewer)));
                }
            }
        }
        all
    }

    /// One rule for every slug that was ever had, and for ids: only what was public under it leads the anonymous on.
    fn expect_address(&self, kind: Kind, text: &str, as_viewer: bool) -> Expected {
        let by_id = |(number, entity): (&usize, &Entity)| (entity.id == text).then_some((*number, entity.was_public));
        let held = self.slugs.get(&(kind, text.to_owned())).copied();
        let found = held.or_else(|| self.entities.iter().find_map(by_id)).filter(|(_, public)| *public || as_viewer);
        let (status, location, body) = match found.map(|(number, _)| (number, &self.entities[&number])) {
            None => (404, None, Value::Null),
            Some((_, entity)) if !entity.is_live() => (410, None, Value::Null),
            Some((number, entity)) if entity.slug == text => (200, None, self.page(number)),
            Some((_, entity)) => (308, Some(entity.address()), Value::Null),
        };
        Expected { path: format!("/{}/{text}", kind.plural()), as_viewer, status, location, body }
    }

    /// At the same addresses as the page.
    fn expect_jsonld(&self, text: &str, as_viewer: bool) -> Expected {
        let Expected { path, status, location, .. } = self.expect_address(Kind::Term, text, as_viewer);
        let here = self.entities.iter().find(|(_, entity)| entity.kind == Kind::Term && entity.slug == text);
        let body = match here {
            Some((number, entity)) if status == 200 => {
                let url = format!("https://example.org/glossary/{text}");
                let (document, (companies, _)) = (&entity.document, self.companies_of_term(*number));
                let names: Vec<Value> = items(document, "aliases")
                    .into_iter()
                    .filter(|alias| alias["kind"] != "hidden")
                    .map(|alias| alias["name"].clone())
                    .collect();
                let term = json!({"@id": url, "name": document["name"], "description": document["definition"], "alternateName": names});
                let companies = companies.iter().take(12).map(
                    |company| json!({"name": self.entities[company].document["name"], "knowsAbout": {"@id": url}}),
                );
                let graph: Vec<Value> = std::iter::once(term).chain(companies).collect();
                json!({ "@graph": graph })
            }
            _ => Value::Null,
        };
        let location = location.map(|location| format!("{location}.jsonld"));
        Expected { path: format!("{path}.jsonld"), as_viewer, status, location, body }
    }

    /// The page of an entity, the same for whoever may see it.
    pub fn page(&self, number: usize) -> Value {
        let Entity { kind, id, document, .. } = &self.entities[&number];
        let mut page = match kind {
            Kind::Term => self.term_page(number),
            Kind::Category => self.category_page(number),
            Kind::Company => {
                let terms = self.terms("published", |term| linked(&term.document, "companies").contains(&number));
                let categories =
                    self.by_name(|other, entity| entity.is_live() && linked(document, "categories").contains(&other));
                json!({"terms": list(&terms), "categories": self.slugs_of(&categories),
                       "description": document["description"], "country": document["country"], "status": document["status"]})
            }
        };
        page["id"] = json!(id);
        page["slug"] = json!(self.entities[&number].slug);
        page["name"] = document["name"].clone();
        page["version"] = json!(self.entities[&number].revisions.len());
        page
    }

    fn term_page(&self, number: usize) -> Value {
        let document = &self.entities[&number].document;
        let cards = |numbers: &[usize]| -> Vec<Value> { numbers.iter().map(|other| self.card(*other)).collect() };
        let public = |wanted: &dyn Fn(usize, &Entity) -> bool| {
            cards(
                &self.by_name(|other, entity| entity.kind == Kind::Term && entity.is_public() && wanted(other, entity)),
            )
        };
        let ahead = |member: &'static str| move |other: usize, _: &Entity| linked(document, member).contains(&other);
        let back =
            |member: &'static str| move |_: usize, entity: &Entity| linked(&entity.document, member).contains(&number);
        let mut replaced_by = linked(document, "replaced_by");
        replaced_by.retain(|other| self.entities[other].is_public());
        let home = linked(document, "category")[0];
        let (first, then) = self.companies_of_term(number);
        let companies: Vec<Value> = first.iter().chain(&then).take(12).map(|other| self.card(*other)).collect();
        let aliases: Vec<Value> =
            items(document, "aliases").into_iter().filter(|alias| alias["kind"] != "hidden").collect();
        json!({
            "status": document["status"], "definition": document["definition"], "body": document["body"],
            "acronyms": acronyms(&self.entities[&number]), "aliases": aliases, "sources": document["sources"],
            "reviewed_on": document["reviewed_on"],
            "category": {"slug": self.entities[&home].slug, "ancestors": self.slugs_of(&self.above(home))},
            "related": public(&|other, entity| ahead("related")(other, entity) || back("related")(other, entity)),
            "broader": public(&ahead("broader")), "narrower": public(&back("broader")),
            "replaced_by": cards(&replaced_by), "replaces": public(&back("replaced_by")),
            "companies": {"items": companies, "linked": first.len(), "total": first.len() + then.len()},
        })
    }

    fn category_page(&self, number: usize) -> Value {
        let document = &self.entities[&number].document;
        let above = self.above(number);
        let mut page = self.card(number);
        page["rank"] = document["rank"].clone();
        page["ancestors"] = json!(self.slugs_of(&above));
        page["children"] = json!(self.children(Some(number)).iter().map(|child| self.card(*child)).collect::<Vec<_>>());
        page["terms"] = list(&self.terms_below(number, "published"));
        page["companies"] = list(&self.companies(|company| linked(&company.document, "categories").contains(&number)));
        page
    }

    fn expect_lists(&self, expect: &mut impl FnMut(String, bool, u16, Value)) {
        for status in ["published", "deprecated", "draft"] {
            let terms = list(&self.terms(status, |_| true));
            expect(format!("/terms?limit=100&status={status}"), status == "draft", 200, terms);
        }
        expect("/terms".into(), false, 200, list(&self.terms("published", |_| true)));
        expect("/companies".into(), false, 200, list(&self.companies(|_| true)));
        let drafts = self.by_name(|_, entity| entity.kind == Kind::Company && entity.has_status("draft"));
        let drafts: Vec<Value> = drafts.iter().map(|number| self.card(*number)).collect();
        expect("/companies?status=draft".into(), true, 200, list(&drafts));
        let mut tree = Vec::new();
        let mut ahead: Vec<usize> = self.children(None).into_iter().rev().collect();
        while let Some(number) = ahead.pop() {
            tree.push(self.card(number));
            ahead.extend(self.children(Some(number)).into_iter().rev());
        }
        expect("/categories".into(), false, 200, list(&tree));
        for (number, entity) in &self.entities {
            let (number, slug) = (*number, &entity.slug);
            let filter = entity.kind.as_str();
            let status = if entity.is_public() { 200 } else { 400 };
            let shown = |items: &[Value]| if status == 200 { list(items) } else { Value::Null };
            let (terms, companies) = match entity.kind {
                Kind::Term => {
                    let (first, then) = self.companies_of_term(number);
                    (None, Some(first.iter().chain(&then).map(|company| self.card(*company)).collect()))
                }
                Kind::Category => (
                    Some(self.terms_below(number, "published")),
                    Some(self.companies(|company| linked(&company.document, "categories").contains(&number))),
                ),
                Kind::Company => {
                    (Some(self.terms("published", |term| linked(&term.document, "companies").contains(&number))), None)
                }
            };
            for (plural, items) in [("terms", terms), ("companies", companies)] {
                if let Some(items) = items {
                    expect(format!("/{plural}?{filter}={slug}"), false, status, shown(&items));
                }
            }
        }
        let mut trash: Vec<(&Entity, &Deletion)> =
            self.entities.values().filter_map(|entity| Some((entity, entity.deleted.as_ref()?))).collect();
        trash.sort_by_key(|(_, deletion)| std::cmp::Reverse(deletion.position));
        let trash = trash.into_iter().map(|(entity, deletion)| {
            json!({
                "id": entity.id, "kind": entity.kind.as_str(), "slug": entity.slug, "name": entity.document["name"],
                "was_public": entity.was_public, "deleted_by": format!("test {}", deletion.by), "version": deletion.version,
            })
        });
        expect("/trash?limit=100".into(), true, 200, list(&trash.collect::<Vec<_>>()));
    }

    /// As it shows in lists and on others' pages.
    fn card(&self, number: usize) -> Value {
        let entity = &self.entities[&number];
        let document = &entity.document;
        match entity.kind {
            Kind::Term => {
                let category = &self.entities[&linked(document, "category")[0]];
                json!({
                    "id": entity.id, "slug": entity.slug, "name": document["name"], "acronyms": acronyms(entity),
                    "definition": document["definition"], "status": document["status"],
                    "category": {"slug": category.slug, "name": category.document["name"]},
                })
            }
            Kind::Company => json!({
                "id": entity.id, "slug": entity.slug, "name": document["name"], "description": document["description"],
                "country": document["country"], "status": document["status"],
            }),
            Kind::Category => json!({
                "id": entity.id, "slug": entity.slug, "name": document["name"], "description": document["description"],
                "parent": self.above(number).last().map(|parent| &self.entities[parent].slug),
                "term_count": self.terms_below(number, "published").len(),
                "company_count": self.companies(|company| linked(&company.document, "categories").contains(&number)).len(),
            }),
        }
    }

    fn slugs_of(&self, numbers: &[usize]) -> Vec<&str> {
        numbers.iter().map(|number| self.entities[number].slug.as_str()).collect()
    }

    /// Some of the entities, by name; those of one name by id, that is, in the order in which they were made.
    fn by_name(&self, wanted: impl Fn(usize, &Entity) -> bool) -> Vec<usize> {
        let mut numbers: Vec<usize> = self
            .entities
            .iter()
            .filter(|(number, entity)| wanted(**number, entity))
            .map(|(number, _)| *number)
            .collect();
        numbers.sort_by_key(|number| (fold(&self.entities[number].document["name"]), *number));
        numbers
    }

    fn terms(&self, status: &str, wanted: impl Fn(&Entity) -> bool) -> Vec<Value> {
        let is_one =
            |_: usize, entity: &Entity| entity.kind == Kind::Term && entity.has_status(status) && wanted(entity);
        self.by_name(is_one).into_iter().map(|number| self.card(number)).collect()
    }

    fn terms_below(&self, category: usize, status: &str) -> Vec<Value> {
        self.terms(status, |term| {
            let home = linked(&term.document, "category")[0];
            home == category || self.above(home).contains(&category)
        })
    }

    fn companies(&self, wanted: impl Fn(&Entity) -> bool) -> Vec<Value> {
        let is_one = |_: usize, entity: &Entity| entity.kind == Kind::Company && entity.is_public() && wanted(entity);
        self.by_name(is_one).into_iter().map(|number| self.card(number)).collect()
    }

    /// Those linked to the term, then those of its category.
    fn companies_of_term(&self, number: usize) -> (Vec<usize>, Vec<usize>) {
        let document = &self.entities[&number].document;
        let (own, home) = (linked(document, "companies"), linked(document, "category")[0]);
        let shown = |entity: &Entity| entity.kind == Kind::Company && entity.is_public();
        let first = self.by_name(|other, entity| shown(entity) && own.contains(&other));
        let then = self.by_name(|other, entity| {
            shown(entity) && !own.contains(&other) && linked(&entity.document, "categories").contains(&home)
        });
        (first, then)
    }

    /// The categories above one, from the top down.
    fn above(&self, category: usize) -> Vec<usize> {
        let mut above = Vec::new();
        let mut next = linked(&self.entities[&category].document, "parent").first().copied();
        while let Some(parent) = next {
            above.insert(0, parent);
            next = linked(&self.entities[&parent].document, "parent").first().copied();
        }
        above
    }

    fn children(&self, parent: Option<usize>) -> Vec<usize> {
        let mut children = self.by_name(|_, entity| {
            entity.kind == Kind::Category
                && entity.is_live()
                && linked(&entity.document, "parent").first().copied() == parent
        });
        children.sort_by_key(|child| self.entities[child].document["rank"].as_i64());
        children
    }
}

fn list(items: &[Value]) -> Value {
    json!({"total": items.len(), "items": items})
}

fn acronyms(term: &Entity) -> Vec<Value> {
    let aliases = items(&term.document, "aliases").into_iter();
    aliases.filter(|alias| alias["kind"] == "acronym").map(|alias| alias["name"].clone()).collect()
}
