//! `GET /search` and `GET /suggest`: terms, categories and companies by what they are called, and by what is said of them.

mod find;
mod highlight;
mod share;

pub use find::Tier;
pub use share::Share;

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    iter::successors,
};

use actix_web::{get, web::Data};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    categories::{self, CategoryLink},
    editorial::{Kind, document::Choice},
    error::Error,
    http::{
        answer::Answer,
        auth::Reader,
        lookup,
        paging::{After, Page},
        query::Query,
    },
    names::{self, NAME_CHARS_MAX},
    openapi::{Routes, SearchErrors, TAG_SEARCH},
    state::State,
    terms::TermStatus,
};
use find::{Asked, Card, FOUND_MAX, Match};
use highlight::Marks;
use share::Searching;

pub fn routes(routes: &mut Routes<'_>) {
    routes.service(search).service(suggest);
}

/// One page of what is found, best first.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchResults {
    #[schema(max_items = 100)]
    pub items: Vec<SearchHit>,
    /// Where the next page begins: send it as `cursor`. `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// How much is found, on all pages; 1,000 where it is that or more, since only the best 1,000 are kept.
    #[schema(minimum = 0, maximum = 1000, example = 7)]
    pub total: usize,
    /// In which categories that stands which is found, on all pages, what is below them included: as many as `category` would
    /// leave. The most frequent first.
    #[schema(max_items = 1000)]
    pub categories: Vec<CategoryCount>,
}

/// A term, a category or a company that is found: what their cards have in common, and why it is found.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchHit {
    /// `term`, `category` or `company`; more may come. Its page is `/terms/{slug}`, `/categories/{slug}` or `/companies/{slug}`.
    #[schema(example = "term")]
    pub kind: String,
    pub id: Uuid,
    #[schema(example = "foundation-model")]
    pub slug: String,
    #[schema(example = "Foundation Model")]
    pub name: String,
    /// Short forms of a term's name, in the editor's order.
    #[schema(example = json!(["FM"]))]
    pub acronyms: Vec<String>,
    /// A term's definition, or the description of a category or a company. Plain text.
    pub text: String,
    /// The category of a term, those of a company.
    pub categories: Vec<CategoryLink>,
    /// `published`, `deprecated` or `draft`; more may come.
    #[schema(example = "published")]
    pub status: String,
    /// Why it is found, the best reason first: `name` (it is called that), `alias` (it is called that too), `prefix` (a name of it
    /// begins like that), `words` (a name has all of the words), `typo` (a name differs by a few letters), `text` (its texts have
    /// all of the words); more may come.
    #[schema(value_type = String, example = "alias")]
    pub tier: Tier,
    /// The acronym or other alias by which it is found; `null` where it is its name, its texts, or what is not shown.
    #[schema(required, example = "FM")]
    pub alias: Option<String>,
    pub highlights: Highlights,
}

/// The same texts as HTML, safe to insert: all is escaped, and nothing is markup but `<mark>` around what was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Highlights {
    #[schema(example = "<mark>Foundation</mark> Model")]
    pub name: String,
    #[schema(required, example = "<mark>FM</mark>")]
    pub alias: Option<String>,
    pub text: String,
    /// A part of a term's body, where the words are found in it alone.
    #[schema(required, example = json!(null))]
    pub body: Option<String>,
}

/// How many of what is found stand in a category, or below it.
#[derive(Debug, Serialize, ToSchema)]
pub struct CategoryCount {
    pub category: CategoryLink,
    #[schema(minimum = 1, example = 5)]
    pub count: usize,
}

/// What may be meant, best first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Suggestions {
    #[schema(max_items = 20)]
    pub items: Vec<Suggestion>,
}

/// A term, a category or a company that may be meant.
#[derive(Debug, Serialize, ToSchema)]
pub struct Suggestion {
    /// `term`, `category` or `company`; more may come.
    #[schema(example = "term")]
    pub kind: String,
    pub id: Uuid,
    #[schema(example = "foundation-model")]
    pub slug: String,
    #[schema(example = "Foundation Model")]
    pub name: String,
    /// The alias that is being typed; `null` where it is the name, or what is not shown.
    #[schema(required, example = json!(null))]
    pub alias: Option<String>,
    /// The name, or the alias, as safe HTML with `<mark>` around what is typed.
    #[schema(example = "<mark>Found</mark>ation Model")]
    pub highlight: String,
}

/// What both addresses ask.
struct Question {
    text: String,
    key: String,
    kind: Option<Kind>,
    category: Option<String>,
    status: Option<TermStatus>,
}

impl Question {
    fn take(query: &mut Query, reader: &Reader) -> Result<Self, Error> {
        let asked = query.required("q", "say what to look for", |value| {
            let text = value.trim();
            if text.chars().count() > NAME_CHARS_MAX {
                return Err(("too_long", format!("At most {NAME_CHARS_MAX} characters are looked for.")));
            }
            let key = names::fold(text);
            if key.is_empty() {
                return Err((
                    "nothing_visible",
                    "Expected a name, or words; there is nothing in this to look for.".into(),
                ));
            }
            Ok((text.to_owned(), key))
        });
        let (text, key) = asked.unwrap_or_default();
        let kind = query.take("kind", |value| {
            Kind::parse(value).ok_or_else(|| ("unknown_value", "Expected one of term, category, company.".into()))
        });
        let category = query.text("category");
        let status = query.choice("status");
        if status == Some(TermStatus::Draft) {
            reader.may_see_drafts()?;
        }
        Ok(Question { text, key, kind, category, status })
    }

    fn filters(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("q", Some(self.text.as_str())),
            ("kind", self.kind.map(Kind::as_str)),
            ("category", self.category.as_deref()),
            ("status", self.status.map(TermStatus::as_str)),
        ]
    }

    /// The question with its category looked up; by then all mistakes of the query are known, and told.
    async fn ask(self, mut query: Query, conn: &mut PgConnection, texts: bool, max: i64) -> Result<Asked, Error> {
        let Question { text, key, kind, category, status } = self;
        let category = lookup::filter(&mut *conn, &mut query, "category", Kind::Category, category.as_deref()).await?;
        query.finish()?;
        let categories = match category {
            Some(id) => Some(categories::with_descendants(conn, id).await?),
            None => None,
        };
        let status = status.unwrap_or(TermStatus::Published).as_str();
        Ok(Asked { text, key, status, kind: kind.map(Kind::as_str), categories, texts, max })
    }
}

/// Search the glossary
///
/// Terms, categories and companies, best first: the whole name, a whole acronym or alias, names that begin like that, names
/// with all of the words, then (where no name is found) names that differ in all or a part by a few letters, last definitions,
/// descriptions and bodies with all of the words. Case and accents don't matter, hyphens separate words, signs that tell names
/// apart do matter (`C`, `C++`, `C#`), and nothing in `q` is an operator. The best 1,000 are found; a cursor counts them, so
/// what is written meanwhile can move an item to another page.
#[utoipa::path(
    operation_id = "search",
    tag = TAG_SEARCH,
    params(
        ("q" = String, Query, description = "A name, the beginning of one, or words; `+` is sent as `%2B`.", example = "model", min_length = 1, max_length = 200),
        ("kind" = inline(Option<Kind>), Query, description = "Only these."),
        ("category" = Option<String>, Query, description = "Only what stands in this category, or in those below it: a slug of the day, a former one, or an id.", example = "core-concepts", max_length = 100),
        ("status" = Option<TermStatus>, Query, description = "Only what has this status; `published` where it is absent. `draft` needs the token of a viewer."),
        ("limit" = Option<i32>, Query, description = "How many items a page has; 20 where it is absent.", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; it belongs to the same question.", max_length = 4096),
    ),
    responses(
        (status = 200, description = "One page of what is found; the `Link` header has the address of the next one.", body = SearchResults, headers(("Link" = String, description = "The address of the next page, `rel=\"next\"`; absent on the last one."))),
        SearchErrors
    ),
    security((), ("bearer" = []))
)]
#[get("/search")]
async fn search(state: Data<State>, mut query: Query, reader: Reader) -> Result<Answer, Error> {
    let question = Question::take(&mut query, &reader)?;
    let page: Page<usize> = Page::take(&mut query, "/search", &question.filters());
    let mut searching = Searching::begin(&state, &question.text, find::likeness(&question.key)).await?;
    let asked = question.ask(query, searching.connection()?, true, FOUND_MAX).await?;
    let found = find::find(searching.connection()?, &asked).await.map_err(share::too_long)?;
    let first = page.after.as_ref().map_or(0, |after| after.key);
    let mut rest: Vec<(usize, &Match)> = (1..).zip(&found).skip(first).collect();
    let next_cursor = page.cut(&mut rest, |(place, found)| After { key: *place, id: found.id });
    let shown: Vec<&Match> = rest.into_iter().map(|(_, found)| found).collect();
    let homes: BTreeSet<Uuid> = found.iter().flat_map(|found| found.categories.iter().copied()).collect();
    let homes: Vec<Uuid> = homes.into_iter().collect();
    let mut cards = find::cards(searching.connection()?, &shown, &homes).await?;
    let marks = Marks::new(asked.key, std::mem::take(&mut searching.stems));
    let seen = searching.end(&state);
    let results = SearchResults {
        categories: count(&found, &cards),
        items: shown
            .into_iter()
            .filter_map(|found| Some(SearchHit::of(found, cards.remove(&found.id)?, &marks)))
            .collect(),
        total: found.len(),
        next_cursor,
    };
    let next = results.next_cursor.as_deref().map(|cursor| page.address(cursor));
    Ok(Answer::json(&results, None, seen)?.with_next(next))
}

/// Suggest while typing
///
/// The few names that may be meant by what is typed so far, best first, in the order of `/search`; texts are not
/// searched.
#[utoipa::path(
    operation_id = "suggest",
    tag = TAG_SEARCH,
    params(
        ("q" = String, Query, description = "What is typed so far.", example = "found", min_length = 1, max_length = 200),
        ("kind" = inline(Option<Kind>), Query, description = "Only these."),
        ("category" = Option<String>, Query, description = "Only what stands in this category, or in those below it: a slug of the day, a former one, or an id.", max_length = 100),
        ("status" = Option<TermStatus>, Query, description = "Only what has this status; `published` where it is absent. `draft` needs the token of a viewer."),
        ("limit" = Option<i32>, Query, description = "How many to suggest; 8 where it is absent.", minimum = 1, maximum = 20),
    ),
    responses((status = 200, description = "What may be meant.", body = Suggestions), SearchErrors),
    security((), ("bearer" = []))
)]
#[get("/suggest")]
async fn suggest(state: Data<State>, mut query: Query, reader: Reader) -> Result<Answer, Error> {
    let question = Question::take(&mut query, &reader)?;
    let limit = query.take("limit", |value| match value.parse() {
        Ok(limit) if (1..=SUGGESTIONS_MAX).contains(&limit) => Ok(limit),
        _ => Err(("out_of_range", format!("Expected a whole number from 1 to {SUGGESTIONS_MAX}."))),
    });
    let mut searching = Searching::begin(&state, &question.text, find::likeness(&question.key)).await?;
    let asked = question.ask(query, searching.connection()?, false, limit.unwrap_or(SUGGESTIONS)).await?;
    let found = find::find(searching.connection()?, &asked).await.map_err(share::too_long)?;
    let mut cards = find::cards(searching.connection()?, &found.iter().collect::<Vec<_>>(), &[]).await?;
    let marks = Marks::new(asked.key, std::mem::take(&mut searching.stems));
    let seen = searching.end(&state);
    let items = found.into_iter().filter_map(|found| {
        let Card { slug, name, .. } = cards.remove(&found.id)?;
        let alias = found.alias().map(ToOwned::to_owned);
        let shown = alias.as_deref().unwrap_or(&name);
        // What is found by a name that is not shown has nothing to mark.
        let is_shown = alias.is_some() || found.role == "name";
        let highlight = if is_shown { marks.name(shown, found.is_whole()) } else { marks.words(shown) };
        Some(Suggestion { kind: found.kind, id: found.id, slug, name, alias, highlight })
    });
    Answer::json(&Suggestions { items: items.collect() }, None, seen)
}

/// How many suggestions there are where the request does not say.
const SUGGESTIONS: i64 = 8;
const SUGGESTIONS_MAX: i64 = 20;

/// How many of what is found stand in which category, or below it; the most frequent first.
fn count(found: &[Match], cards: &HashMap<Uuid, Card>) -> Vec<CategoryCount> {
    let mut counts: HashMap<Uuid, usize> = HashMap::new();
    for found in found {
        let mut above: BTreeSet<Uuid> = BTreeSet::new();
        for home in &found.categories {
            // A category that is known already has brought all that are above it.
            let way = successors(Some(*home), |id| cards.get(id)?.parent).take_while(|id| above.insert(*id));
            way.for_each(drop);
        }
        above.into_iter().for_each(|category| *counts.entry(category).or_default() += 1);
    }
    let named = counts.into_iter().filter_map(|(id, count)| {
        let Card { slug, name, .. } = cards.get(&id)?;
        Some(CategoryCount { category: CategoryLink { id, slug: slug.clone(), name: name.clone() }, count })
    });
    let mut counts: Vec<CategoryCount> = named.collect();
    counts.sort_unstable_by(|one, other| {
        (Reverse(one.count), &one.category.slug).cmp(&(Reverse(other.count), &other.category.slug))
    });
    counts
}

impl SearchHit {
    fn of(found: &Match, card: Card, marks: &Marks) -> Self {
        let alias = found.alias().map(ToOwned::to_owned);
        let by_name = found.role == "name" && found.tier != Tier::Text;
        let highlights = Highlights {
            name: if by_name { marks.name(&card.name, found.is_whole()) } else { marks.words(&card.name) },
            alias: alias.as_deref().map(|alias| marks.name(alias, found.is_whole())),
            text: marks.words(&card.text),
            body: card.body.as_deref().and_then(|body| marks.excerpt(body)),
        };
        SearchHit {
            kind: found.kind.clone(),
            id: found.id,
            slug: card.slug,
            name: card.name,
            acronyms: card.acronyms,
            text: card.text,
            categories: card.categories.0,
            status: card.status,
            tier: found.tier,
            alias,
            highlights,
        }
    }
}
