//! `GET /terms/{slug}`: everything that a page about one term shows, in one SQL round trip.

use actix_web::{HttpRequest, get, guard::GuardContext, web::Data};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Source, TermCard, TermDocument, TermStatus, jsonld};
use crate::{
    categories::CategoryTrail,
    changes::{Keys, Seen},
    clock::{Day, Timestamp},
    companies::{self, CompanyCard, TermCompanies},
    editorial::Which,
    error::Error,
    http::{
        answer::Answer,
        auth::Reader,
        lookup::{self, Address},
        negotiate,
        query::Query,
    },
    openapi::{EntityErrors, TAG_TERMS},
    state::State,
};

/// Another name of a term, as readers see it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TermAlias {
    #[schema(example = "Base model")]
    pub name: String,
    /// `synonym`, `acronym`, `spelling` or `deprecated` (no longer to be used); more may come.
    #[schema(example = "synonym")]
    pub kind: String,
}

/// The whole page of a term.
#[derive(Debug, Serialize, ToSchema)]
pub struct TermPage {
    /// Never changes: `/terms/{id}` leads to the slug of the day.
    pub id: Uuid,
    #[schema(example = "foundation-model")]
    pub slug: String,
    #[schema(example = "Foundation Model")]
    pub name: String,
    /// `draft` only for those who may see drafts.
    pub status: TermStatus,
    /// Short forms of the name, in the editor's order; `aliases` has them too.
    #[schema(example = json!(["FM"]))]
    pub acronyms: Vec<String>,
    /// Plain text of one to three sentences.
    pub definition: String,
    /// The explanation, in Markdown (CommonMark with tables and footnotes).
    pub body: String,
    /// The explanation as HTML that is safe to put into a page.
    pub body_html: String,
    /// Other names, in the editor's order.
    pub aliases: Vec<TermAlias>,
    pub category: CategoryTrail,
    /// By name; symmetric.
    pub related: Vec<TermCard>,
    /// What this term is a kind or a part of; by name.
    pub broader: Vec<TermCard>,
    /// The inverse of `broader`; by name.
    pub narrower: Vec<TermCard>,
    /// What to use instead, best first. A deprecated term names at least one; what is a draft or in the trash does not show.
    pub replaced_by: Vec<TermCard>,
    /// The inverse of `replaced_by`; by name.
    pub replaces: Vec<TermCard>,
    /// Those linked to the term first, then those of its category; each by name.
    pub companies: TermCompanies,
    pub sources: Vec<Source>,
    /// When an editor last checked that all of it still holds.
    #[schema(required, value_type = Option<String>, format = Date, example = "2026-11-02")]
    pub reviewed_on: Option<Day>,
    /// When it first became public; `null` for a draft.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub published_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the term itself was last changed; a neighbour's change leaves it as it is.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// How often the term was written, from 1.
    #[schema(minimum = 1, example = 1)]
    pub version: i64,
}

/// Read a term
///
/// The whole page of a term: definition, explanation, category, relations and companies. A former slug, or the term's
/// id, leads to the slug of the day. A token of a viewer opens the pages of drafts as well. `Accept: application/ld+json`
/// gets what `/terms/{slug}.jsonld` gives.
#[utoipa::path(
    operation_id = "read_term",
    tag = TAG_TERMS,
    params(("slug" = String, Path, description = "The term's slug, a former one, or its id.", example = "foundation-model", max_length = 100)),
    responses((status = 200, description = "The page of the term.", body = TermPage), EntityErrors),
    security((), ("bearer" = []))
)]
#[get("/terms/{slug}", guard = "is_of_page")]
pub async fn read_term(
    request: HttpRequest,
    state: Data<State>,
    address: Address,
    query: Query,
    reader: Reader,
) -> Result<Answer, Error> {
    query.finish()?;
    let answer = if negotiate::prefers(&request, jsonld::JSON_LD) {
        jsonld::read(&state, &address, &reader).await?
    } else {
        lookup::page::<TermDocument<Uuid>>(&state, &address, &reader).await?
    };
    Ok(answer.negotiated())
}

/// A segment takes any ending. That the page is the first to be asked, and passes on what is not its own, costs it less
/// than another pattern before it.
fn is_of_page(context: &GuardContext<'_>) -> bool {
    let path = context.head().uri.path();
    !path.ends_with(".jsonld") || path.ends_with("/.jsonld")
}

/// A term that the page is linked to: all of them come in one list, each role's in its order.
#[derive(Debug, Deserialize)]
struct Link {
    role: LinkRole,
    card: TermCard,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LinkRole {
    Related,
    Broader,
    Narrower,
    ReplacedBy,
    Replaces,
}

#[derive(Default)]
struct Links {
    related: Vec<TermCard>,
    broader: Vec<TermCard>,
    narrower: Vec<TermCard>,
    replaced_by: Vec<TermCard>,
    replaces: Vec<TermCard>,
}

impl Links {
    fn of(all: Vec<Link>) -> Self {
        let mut links = Links::default();
        for Link { role, card } in all {
            let cards = match role {
                LinkRole::Related => &mut links.related,
                LinkRole::Broader => &mut links.broader,
                LinkRole::Narrower => &mut links.narrower,
                LinkRole::ReplacedBy => &mut links.replaced_by,
                LinkRole::Replaces => &mut links.replaces,
            };
            cards.push(card);
        }
        links
    }
}

#[expect(clippy::too_many_lines, reason = "the whole page is one statement, read as one")]
pub(super) async fn answer(state: &State, which: Which<'_>, drafts: bool) -> Result<Option<Answer>, Error> {
    let row = sqlx::query!(
        r#"
        select t.id, t.slug, t.name, t.status, t.definition, t.body, t.body_html, t.category_id, t.version, t.revision_id,
               t.reviewed_on as "reviewed_on: Day", t.published_at as "published_at: Timestamp",
               t.created_at as "created_at: Timestamp", t.updated_at as "updated_at: Timestamp",
               (select coalesce(json_agg(json_build_object('name', a.name, 'kind', a.kind) order by a.position), '[]')
                  from term_aliases a where a.term_id = t.id and a.kind <> 'hidden') as "aliases!: Json<Vec<TermAlias>>",
               (select coalesce(json_agg(json_build_object('title', s.title, 'url', s.url, 'publisher', s.publisher,
                                                           'published_on', s.published_on) order by s.position), '[]')
                  from term_sources s where s.term_id = t.id) as "sources!: Json<Vec<Source>>",
               (with recursive up (id, slug, name, parent_id, height) as (
                    select c.id, c.slug, c.name, c.parent_id, 0 from categories c where c.id = t.category_id
                    union all
                    select c.id, c.slug, c.name, c.parent_id, up.height + 1 from up join categories c on c.id = up.parent_id
                )
                select json_build_object(
                           'id', (array_agg(id order by height))[1], 'slug', (array_agg(slug order by height))[1],
                           'name', (array_agg(name order by height))[1],
                           'ancestors', coalesce(json_agg(json_build_object('id', id, 'slug', slug, 'name', name) order by height desc)
                                                 filter (where height > 0), '[]'))
                  from up) as "category!: Json<CategoryTrail>",
               coalesce(r.cards, '[]') as "links!: Json<Vec<Link>>",
               k.linked as "linked!", k.of_category as "of_category!",
               coalesce(k.cards, '[]') as "companies!: Json<Vec<CompanyCard>>",
               k.last_key as "last_company_key?",
               coalesce((select max(position) from changes), 0) as "position!"
          from terms t
          left join lateral (
              select json_agg(json_build_object('role', l.role, 'card', n.card) order by l.position, n.name_key, n.id) as cards
                from (select kind as role, other as id, position from term_relations where owner = t.id
                      union
                      select case kind when 'broader' then 'narrower' when 'replaced_by' then 'replaces' else kind end, owner, null
                        from term_relations where other = t.id) l
                join term_cards n on n.id = l.id
          ) r on true
          left join lateral (
              with linked as materialized (
                  select k.id, k.name_key
                    from term_companies l join companies k on k.id = l.company_id and k.is_public
                   where l.term_id = t.id
              )
              select json_agg(c.card order by f.rank, f.name_key, f.id) as cards,
                     (array_agg(f.name_key order by f.rank desc, f.name_key desc, f.id desc))[1] as last_key,
                     (select count(*) from linked) as linked,
                     (select count(*) from company_categories l
                       where l.category_id = t.category_id and l.is_public
                         and not exists (select from linked o where o.id = l.company_id)) as of_category
                from ((select id, name_key, 0 as rank from linked)
                      union all
                      (select l.company_id, l.name_key, 1
                         from company_categories l
                        where l.category_id = t.category_id and l.is_public
                          and not exists (select from linked o where o.id = l.company_id)
                        order by l.name_key, l.company_id
                        limit 12)
                      order by rank, name_key, id
                      limit 12) f
                join company_cards c on c.id = f.id
          ) k on true
         where t.id = coalesce($2, (select s.id from terms s where s.slug = $1))
           and t.deleted_at is null and (t.status <> 'draft' or $3)
        "#,
        which.slug(),
        which.id(),
        drafts
    )
    .fetch_optional(&state.database())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let companies = companies::excerpt_of_term(
        &row.slug,
        row.companies.0,
        row.last_company_key,
        row.linked,
        row.linked + row.of_category,
    );
    let Links { related, broader, narrower, replaced_by, replaces } = Links::of(row.links.0);
    let acronyms = row.aliases.iter().filter(|alias| alias.kind == "acronym").map(|alias| alias.name.clone()).collect();
    let page = TermPage {
        id: row.id,
        slug: row.slug,
        name: row.name,
        status: TermStatus::of(&row.status)?,
        acronyms,
        definition: row.definition,
        body: row.body,
        body_html: row.body_html,
        aliases: row.aliases.0,
        category: row.category.0,
        related,
        broader,
        narrower,
        replaced_by,
        replaces,
        companies,
        sources: row.sources.0,
        reviewed_on: row.reviewed_on,
        published_at: row.published_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
        version: row.version,
    };
    let seen = Seen { position: state.position(row.position), keys: keys(&page) };
    Answer::json(&page, Some(row.revision_id), seen).map(Some)
}

fn keys(page: &TermPage) -> Keys {
    let mut keys = Keys::default();
    keys.add(format!("term:{}", page.id));
    keys.add(format!("slug:term/{}", page.slug));
    page.category.add_keys(&mut keys);
    keys.add(format!("category:{}/companies", page.category.id));
    let TermPage { related, broader, narrower, replaced_by, replaces, .. } = page;
    [related, broader, narrower, replaced_by, replaces].into_iter().flatten().for_each(|card| card.add_keys(&mut keys));
    page.companies.items.iter().for_each(|card| card.add_keys(&mut keys));
    keys
}
