//! `GET /terms/{slug}.jsonld`: a term in the words of schema.org, as search engines read it inside a page.

use actix_web::{get, web::Data};
use serde::Serialize;
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::{
    changes::{Keys, Seen},
    companies::CompanyCard,
    editorial::{Kind, Which},
    error::Error,
    http::{
        answer::Answer,
        auth::Reader,
        lookup::{self, Address},
        query::Query,
    },
    openapi::{EntityErrors, TAG_TERMS},
    state::State,
};

pub const JSON_LD: &str = "application/ld+json";

/// A term as JSON-LD of schema.org.
#[derive(Debug, Serialize, ToSchema)]
pub struct TermJsonld {
    #[serde(rename = "@context")]
    #[schema(example = "https://schema.org")]
    context: &'static str,
    /// The `DefinedTerm` in its `DefinedTermSet`, then each `Organization` that is known for it.
    #[serde(rename = "@graph")]
    #[schema(max_items = 13, value_type = Vec<Value>)]
    graph: Vec<Node>,
}

/// What is said of one thing, in the vocabulary's own spelling; what is not known is left out.
#[derive(Debug, Serialize)]
#[serde(tag = "@type", rename_all_fields = "camelCase")]
enum Node {
    DefinedTerm {
        #[serde(rename = "@id")]
        id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<String>,
        name: String,
        alternate_name: Vec<String>,
        description: String,
        in_defined_term_set: Set,
    },
    Organization {
        #[serde(rename = "@id")]
        id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<String>,
        name: String,
        knows_about: Reference,
    },
}

#[derive(Debug, Serialize)]
#[serde(tag = "@type", rename = "DefinedTermSet")]
struct Set {
    #[serde(rename = "@id", skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    name: String,
}

#[derive(Debug, Serialize)]
struct Reference {
    #[serde(rename = "@id")]
    id: String,
}

/// Read a term as JSON-LD
///
/// The term as a `DefinedTerm` of schema.org, and the companies linked to it (the first 12 by name) as `Organization`, to be
/// put as it is into a page's `script` element of the type `application/ld+json`. It is also what `/terms/{slug}` gives to
/// `Accept: application/ld+json`. Addresses are those of the site, where the settings name it; else `@id` is the term's id.
#[utoipa::path(
    operation_id = "read_term_jsonld",
    tag = TAG_TERMS,
    params(("slug" = String, Path, description = "The term's slug, a former one, or its id.", example = "foundation-model", max_length = 100)),
    responses((status = 200, description = "The term as JSON-LD.", body = TermJsonld, content_type = "application/ld+json"), EntityErrors),
    security((), ("bearer" = []))
)]
#[get("/terms/{slug}.jsonld")]
pub async fn read_term_jsonld(
    state: Data<State>,
    address: Address,
    query: Query,
    reader: Reader,
) -> Result<Answer, Error> {
    query.finish()?;
    read(&state, &address.ending(".jsonld"), &reader).await
}

/// The same at whatever address of the term.
pub async fn read(state: &State, address: &Address, reader: &Reader) -> Result<Answer, Error> {
    lookup::read(state, Kind::Term, address, reader, async |which, drafts| answer(state, which, drafts).await).await
}

async fn answer(state: &State, which: Which<'_>, drafts: bool) -> Result<Option<Answer>, Error> {
    let row = sqlx::query!(
        r#"
        select t.id, t.slug, t.name, t.definition, t.revision_id,
               array(select a.name from term_aliases a where a.term_id = t.id and a.kind <> 'hidden' order by a.position) as "aliases!",
               (select coalesce(json_agg(k.card order by k.name_key, k.id), '[]')
                  from (select c.id, c.name_key, c.card
                          from term_companies l join company_cards c on c.id = l.company_id
                         where l.term_id = t.id
                         order by c.name_key, c.id
                         limit 12) k) as "companies!: Json<Vec<CompanyCard>>",
               coalesce((select max(position) from changes), 0) as "position!"
          from terms t
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
    let site = &state.http.site;
    let url = site.term_url.as_ref().map(|site| site.term(&row.slug));
    let glossary = site.term_url.as_ref().map(|site| site.glossary().to_owned());
    let id = url.clone().unwrap_or_else(|| row.id.urn().to_string());
    let companies = row.companies.iter().map(|company| Node::Organization {
        id: company.id.urn().to_string(),
        name: company.name.clone(),
        url: company.website.clone(),
        knows_about: Reference { id: id.clone() },
    });
    let set = Set { id: glossary.clone(), url: glossary, name: site.name.clone() };
    let term = Node::DefinedTerm {
        id: id.clone(),
        url,
        name: row.name,
        alternate_name: row.aliases,
        description: row.definition,
        in_defined_term_set: set,
    };
    let page = TermJsonld { context: "https://schema.org", graph: [term].into_iter().chain(companies).collect() };
    let mut keys = Keys::default();
    keys.add(format!("term:{}", row.id));
    keys.add(format!("slug:term/{}", row.slug));
    row.companies.iter().for_each(|card| card.add_keys(&mut keys));
    let text = serde_json::to_string(&page).map_err(Error::internal)?;
    // Only strings have it, and there it would end the script that holds all this in a page.
    let bytes = text.replace('<', "\\u003c").into();
    let seen = Seen { position: state.position(row.position), keys };
    Ok(Some(Answer::of(JSON_LD, bytes, Some(row.revision_id), seen)))
}
