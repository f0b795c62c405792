//! What the model does: requests that stand for themselves, so that a sequence can be shortened.

use reqwest::Method;
use serde_json::{Value, json};
use termbase::{editorial::Kind, tokens::Role};

use super::{
    Random,
    state::{State, links},
};

#[derive(Debug, Clone)]
pub struct Operation {
    pub role: Role,
    pub tag: Tag,
    pub action: Action,
}

/// What is sent as `If-Match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    None,
    /// That of the page.
    Current,
    /// That of the version before, or of none.
    Stale,
}

#[derive(Debug, Clone)]
pub enum Action {
    Create {
        kind: Kind,
        document: Value,
    },
    Put {
        kind: Kind,
        slug: String,
        document: Value,
    },
    Patch {
        kind: Kind,
        slug: String,
        change: Value,
    },
    Link {
        kind: Kind,
        slug: String,
        member: &'static str,
        other: String,
        is_there: bool,
    },
    /// No kind: it goes.
    Alias {
        slug: String,
        name: String,
        as_kind: Option<&'static str>,
    },
    /// No title: it goes.
    Source {
        slug: String,
        url: &'static str,
        title: Option<String>,
    },
    Delete {
        kind: Kind,
        slug: String,
    },
    Restore {
        kind: Kind,
        slug: String,
    },
    Revert {
        kind: Kind,
        slug: String,
        version: usize,
    },
    Purge {
        kind: Kind,
        slug: String,
    },
}

impl Operation {
    /// The same with less in it.
    pub fn simpler(&self) -> Vec<Operation> {
        let mut simpler = Vec::new();
        if self.tag != Tag::None {
            simpler.push(Operation { tag: Tag::None, ..self.clone() });
        }
        if let Action::Create { document, .. } | Action::Put { document, .. } | Action::Patch { change: document, .. } =
            &self.action
        {
            for member in document.as_object().unwrap().keys() {
                let mut less = self.clone();
                if let Action::Create { document, .. }
                | Action::Put { document, .. }
                | Action::Patch { change: document, .. } = &mut less.action
                {
                    document.as_object_mut().unwrap().remove(member);
                }
                simpler.push(less);
            }
        }
        simpler
    }
}

impl Action {
    pub fn kind(&self) -> Kind {
        match self {
            Action::Create { kind, .. }
            | Action::Put { kind, .. }
            | Action::Patch { kind, .. }
            | Action::Link { kind, .. }
            | Action::Delete { kind, .. }
            | Action::Restore { kind, .. }
            | Action::Revert { kind, .. }
            | Action::Purge { kind, .. } => *kind,
            Action::Alias { .. } | Action::Source { .. } => Kind::Term,
        }
    }

    /// Of the address; a creation has none.
    pub fn slug(&self) -> &str {
        match self {
            Action::Create { .. } => "",
            Action::Put { slug, .. }
            | Action::Patch { slug, .. }
            | Action::Link { slug, .. }
            | Action::Alias { slug, .. }
            | Action::Source { slug, .. }
            | Action::Delete { slug, .. }
            | Action::Restore { slug, .. }
            | Action::Revert { slug, .. }
            | Action::Purge { slug, .. } => slug,
        }
    }

    pub fn request(&self, state: &State) -> (Method, String, Option<Value>) {
        let address = format!("/{}/{}", self.kind().plural(), self.slug());
        let query = |name: &str, value: &str| {
            url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish()
        };
        let put_or_delete = |is_there| if is_there { Method::PUT } else { Method::DELETE };
        match self {
            Action::Create { kind, document } => (Method::POST, format!("/{}", kind.plural()), Some(document.clone())),
            Action::Put { document, .. } => (Method::PUT, format!("{address}/document"), Some(document.clone())),
            Action::Patch { change, .. } => (Method::PATCH, address, Some(change.clone())),
            Action::Link { member, other, is_there, .. } => {
                (put_or_delete(*is_there), format!("{address}/{member}/{other}"), None)
            }
            Action::Alias { name, as_kind, .. } => {
                let path = format!("{address}/aliases?{}", query("name", name));
                (put_or_delete(as_kind.is_some()), path, as_kind.map(|kind| json!({"kind": kind})))
            }
            Action::Source { url, title, .. } => {
                let path = format!("{address}/sources?{}", query("url", url));
                (put_or_delete(title.is_some()), path, title.as_ref().map(|title| json!({"title": title})))
            }
            Action::Delete { .. } => (Method::DELETE, address, None),
            Action::Restore { .. } => (Method::POST, format!("{address}/restore"), None),
            Action::Revert { version, .. } => (Method::POST, format!("{address}/revisions/{version}/restore"), None),
            Action::Purge { kind, slug } => {
                let nobody = "01a20c78-4513-7096-a7ca-781f7eec597d".to_owned();
                let id = state.find(*kind, slug).map_or(nobody, |entity| entity.id.clone());
                (Method::DELETE, format!("/trash/{id}"), None)
            }
        }
    }

    /// What kind of write it is, for the table of keys.
    pub fn label(&self) -> String {
        let members = |document: &Value| document.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(", ");
        let what = match self {
            Action::Create { .. } => "create".into(),
            Action::Put { .. } => "put document".into(),
            Action::Patch { change, .. } => format!("patch {}", members(change)),
            Action::Link { member, is_there, .. } => format!("{} {member}", if *is_there { "put" } else { "delete" }),
            Action::Alias { .. } => "alias".into(),
            Action::Source { .. } => "source".into(),
            Action::Delete { .. } => "delete".into(),
            Action::Restore { .. } => "restore".into(),
            Action::Revert { .. } => "restore revision".into(),
            Action::Purge { .. } => "purge".into(),
        };
        format!("{} {what}", self.kind().as_str())
    }
}

/// Slugs to be had: so few that they meet.
pub fn pool() -> Vec<(Kind, String)> {
    let slugs = |kind, letter: &'static str, count| (0..count).map(move |number| (kind, format!("{letter}{number}")));
    slugs(Kind::Term, "t", 9).chain(slugs(Kind::Category, "c", 6)).chain(slugs(Kind::Company, "k", 6)).collect()
}

const MOST: [(Kind, usize); 3] = [(Kind::Term, 6), (Kind::Category, 4), (Kind::Company, 4)];

/// Draws operations that mostly fit the state, and sometimes don't.
pub struct Draw<'d> {
    pub random: &'d mut Random,
    pub state: &'d State,
}

/// What a sequence begins with: something to write to.
pub const FIRST: [Kind; 8] = {
    use Kind::{Category, Company, Term};
    [Category, Category, Company, Company, Term, Term, Term, Term]
};

impl Draw<'_> {
    pub fn first(&mut self, kind: Kind) -> Operation {
        Operation { role: Role::Editor, tag: Tag::None, action: self.create(kind) }
    }

    pub fn operation(&mut self) -> Operation {
        let kind = *self.random.pick(&[Kind::Term, Kind::Term, Kind::Term, Kind::Category, Kind::Company]);
        let there = self.state.entities.values().filter(|entity| entity.kind == kind).count();
        let most = MOST.iter().find(|most| most.0 == kind).unwrap().1;
        let action = match self.random.below(100) {
            number if number < 45 && there < most / 2 => self.create(kind),
            0..10 if there < most => self.create(kind),
            0..14 => {
                let document = self.document(kind, false);
                Action::Put { kind, slug: self.slug(kind, false), document }
            }
            14..42 => Action::Patch { kind, slug: self.slug(kind, false), change: self.change(kind) },
            42..46 => Action::Patch { kind, slug: self.slug(kind, false), change: self.invalid() },
            46..66 => self.link(kind),
            66..70 => {
                let kinds = [Some("acronym"), Some("synonym"), Some("hidden"), None];
                Action::Alias {
                    slug: self.slug(Kind::Term, false),
                    name: self.name(Kind::Term),
                    as_kind: *self.random.pick(&kinds),
                }
            }
            70..73 => {
                let url = *self.random.pick(&["https://a.example/", "https://b.example/?q=1&r"]);
                let title = (!self.random.one_in(3)).then(|| self.text());
                Action::Source { slug: self.slug(Kind::Term, false), url, title }
            }
            73..81 => Action::Delete { kind, slug: self.slug(kind, false) },
            81..89 => Action::Restore { kind, slug: self.slug(kind, true) },
            89..94 => Action::Purge { kind, slug: self.slug(kind, true) },
            _ => {
                let slug = self.slug(kind, false);
                let versions = self.state.find(kind, &slug).map_or(1, |entity| entity.revisions.len());
                Action::Revert { kind, slug, version: 1 + self.random.below(versions + 1).min(versions) }
            }
        };
        let role = match (&action, self.random.below(100)) {
            (_, 0..5) => Role::Viewer,
            (_, 5..20) => Role::Contributor,
            (Action::Purge { .. }, 20..) => Role::Admin,
            (_, _) => Role::Editor,
        };
        let tag = *self.random.pick(&[Tag::None, Tag::None, Tag::None, Tag::Current, Tag::Current, Tag::Stale]);
        let takes_none = matches!(action, Action::Create { .. } | Action::Purge { .. });
        Operation { role, tag: if takes_none { Tag::None } else { tag }, action }
    }

    /// `POST`, or `PUT` where nothing is yet.
    fn create(&mut self, kind: Kind) -> Action {
        let free = self.free_slugs(kind);
        if free.is_empty() || self.random.one_in(2) {
            let document = self.document(kind, true);
            return Action::Create { kind, document };
        }
        let slug = self.random.pick(&free).clone();
        Action::Put { kind, slug, document: self.document(kind, false) }
    }

    fn document(&mut self, kind: Kind, with_slug: bool) -> Value {
        let mut document = json!({"name": self.name(kind)});
        if kind == Kind::Term {
            document["definition"] = json!(self.text());
            document["category"] = json!(self.slug(Kind::Category, false));
        }
        if kind != Kind::Category && !self.random.one_in(3) {
            document["status"] = json!("published");
        }
        for (member, other, _) in links(kind) {
            if *member != "category" && self.random.one_in(2) {
                document[*member] =
                    if *member == "parent" { json!(self.slug(*other, false)) } else { self.some(*other) };
            }
        }
        if with_slug && self.random.one_in(2) {
            document["slug"] = json!(self.any_slug(kind));
        }
        document
    }

    /// A change of one member, or of the status with what it needs.
    fn change(&mut self, kind: Kind) -> Value {
        let members: &[&str] = match kind {
            Kind::Term => &[
                "status",
                "status",
                "status",
                "slug",
                "slug",
                "name",
                "category",
                "related",
                "broader",
                "replaced_by",
                "companies",
                "aliases",
                "definition",
                "body",
                "reviewed_on",
            ],
            Kind::Company => &["status", "status", "slug", "name", "categories", "country", "founded_year"],
            Kind::Category => &["slug", "name", "description", "parent", "parent", "rank"],
        };
        let member = *self.random.pick(members);
        let value = match member {
            "status" if kind == Kind::Term && self.random.one_in(2) => {
                return json!({"status": "deprecated", "replaced_by": [self.slug(Kind::Term, false)]});
            }
            "status" => json!("published"),
            "slug" => match self.free_slugs(kind) {
                free if free.is_empty() || self.random.one_in(2) => json!(self.any_slug(kind)),
                free => json!(self.random.pick(&free)),
            },
            "name" => json!(self.name(kind)),
            "parent" if self.random.one_in(4) => Value::Null,
            "category" | "parent" => json!(self.slug(Kind::Category, false)),
            "related" | "broader" | "replaced_by" => self.some(Kind::Term),
            "companies" => self.some(Kind::Company),
            "categories" => self.some(Kind::Category),
            "aliases" => {
                json!([{"name": self.name(Kind::Term), "kind": self.random.pick(&["acronym", "hidden", "deprecated"])}])
            }
            "country" => json!(self.random.pick(&["US", "DE"])),
            "founded_year" => json!(2000 + self.random.below(3)),
            "rank" => json!(self.random.below(3)),
            "reviewed_on" => json!(format!("2026-11-0{}", 1 + self.random.below(3))),
            _ => json!(self.text()),
        };
        json!({member: value})
    }

    /// What no document may be.
    fn invalid(&mut self) -> Value {
        let changes = [
            json!({"name": null}),
            json!({"name": ""}),
            json!({"colour": "red"}),
            json!({"status": "gone"}),
            json!({"status": "draft"}),
            json!({"related": ["t0", "nothing"], "categories": ["nothing"], "parent": "nothing"}),
        ];
        self.random.pick(&changes).clone()
    }

    fn link(&mut self, kind: Kind) -> Action {
        let (kind, member, other) = match kind {
            Kind::Term => {
                let members = ["related", "related", "related", "broader", "replaced_by", "companies"];
                let member = *self.random.pick(&members);
                (kind, member, if member == "companies" { Kind::Company } else { Kind::Term })
            }
            Kind::Category | Kind::Company => (Kind::Company, "categories", Kind::Category),
        };
        let (slug, is_there) = (self.slug(kind, false), !self.random.one_in(3));
        // What is removed is mostly there, at this end or the other.
        let document =
            self.state.find(kind, &slug).and_then(|entity| entity.revisions.last()).map(|last| &last.document);
        let linked = document.and_then(|document| document[member].as_array()).cloned().unwrap_or_default();
        let other = match linked.first().and_then(Value::as_str) {
            Some(linked) if !is_there && !self.random.one_in(4) => linked.to_owned(),
            _ => {
                let trash = self.random.one_in(4);
                self.slug(other, trash)
            }
        };
        Action::Link { kind, slug, member, other, is_there }
    }

    /// The slug of something that is there, or in the trash where asked; sometimes any.
    fn slug(&mut self, kind: Kind, trash: bool) -> String {
        let entities = self.state.entities.values();
        let wanted: Vec<&str> = entities
            .filter(|entity| entity.kind == kind && entity.is_live() != trash)
            .map(|entity| entity.slug.as_str())
            .collect();
        if wanted.is_empty() || self.random.one_in(10) {
            self.any_slug(kind)
        } else {
            (*self.random.pick(&wanted)).to_owned()
        }
    }

    /// A slug that is held, was held, or is free.
    fn any_slug(&mut self, kind: Kind) -> String {
        let held = self.state.slugs.keys().cloned();
        let all: Vec<String> = held.chain(pool()).filter(|slug| slug.0 == kind).map(|slug| slug.1).collect();
        self.random.pick(&all).clone()
    }

    fn free_slugs(&self, kind: Kind) -> Vec<String> {
        let is_free = |slug: &(Kind, String)| slug.0 == kind && !self.state.slugs.contains_key(slug);
        pool().into_iter().filter(is_free).map(|slug| slug.1).collect()
    }

    fn some(&mut self, kind: Kind) -> Value {
        let slugs: std::collections::BTreeSet<String> =
            (0..self.random.below(4)).map(|_| self.slug(kind, false)).collect();
        // Lists keep their order, so there must be others than the sorted one.
        let mut slugs: Vec<String> = slugs.into_iter().collect();
        if self.random.one_in(2) {
            slugs.reverse();
        }
        json!(slugs)
    }

    /// One of few, in either case: names clash when folded.
    fn name(&mut self, kind: Kind) -> String {
        let letter = match kind {
            Kind::Term => ["t", "T", "7"],
            Kind::Category => ["c", "C", "c"],
            Kind::Company => ["k", "K", "k"],
        };
        format!("{}{}", self.random.pick(&letter), self.random.below(9))
    }

    fn text(&mut self) -> String {
        format!("Text {}.", self.random.below(4))
    }
}
