//! `GET /companies/{slug}`: a company with its categories and the first of its terms.

use actix_web::{get, web::Data};
use serde::Serialize;
use sqlx::types::Json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{CompanyDocument, CompanyStatus};
use crate::{
    categories::CategoryLink,
    changes::{Keys, Seen},
    clock::Timestamp,
    editorial::Which,
    error::Error,
    http::{
        answer::Answer,
        auth::Reader,
        lookup::{self, Address},
        query::Query,
    },
    openapi::{EntityErrors, TAG_COMPANIES},
    postgres,
    state::State,
    terms::{self, TermExcerpt},
};

/// The whole page of a company.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompanyPage {
    /// Never changes: `/companies/{id}` leads to the slug of the day.
    pub id: Uuid,
    #[schema(example = "anthropic")]
    pub slug: String,
    #[schema(example = "Anthropic")]
    pub name: String,
    /// Plain text.
    pub description: String,
    #[schema(required, format = "uri", example = "https://www.anthropic.com")]
    pub website: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[schema(required, example = "US")]
    pub country: Option<String>,
    #[schema(required, minimum = 1000, maximum = 2999, example = 2021)]
    pub founded_year: Option<i16>,
    /// `draft` only for those who may see drafts.
    pub status: CompanyStatus,
    /// By name.
    pub categories: Vec<CategoryLink>,
    /// The published terms that it is known for, by name.
    pub terms: TermExcerpt,
    /// When it first became public; `null` for a draft.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub published_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the company itself was last changed; a term's change leaves it as it is.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// How often the company was written, from 1.
    #[schema(minimum = 1, example = 1)]
    pub version: i64,
}

/// Read a company
///
/// A company with its categories and the terms that it is known for. A former slug, or the company's id, leads to the
/// slug of the day. A token of a viewer opens the pages of drafts as well.
#[utoipa::path(
    operation_id = "read_company",
    tag = TAG_COMPANIES,
    params(("slug" = String, Path, description = "The company's slug, a former one, or its id.", example = "anthropic", max_length = 100)),
    responses((status = 200, description = "The page of the company.", body = CompanyPage), EntityErrors),
    security((), ("bearer" = []))
)]
#[get("/companies/{slug}")]
pub async fn read_company(state: Data<State>, address: Address, query: Query, reader: Reader) -> Result<Answer, Error> {
    query.finish()?;
    lookup::page::<CompanyDocument<Uuid>>(&state, &address, &reader).await
}

pub(super) async fn answer(state: &State, which: Which<'_>, drafts: bool) -> Result<Option<Answer>, Error> {
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let row = sqlx::query!(
        r#"
        select k.id, k.slug, k.name, k.description, k.website, k.country, k.founded_year, k.status, k.version, k.revision_id,
               k.published_at as "published_at: Timestamp", k.created_at as "created_at: Timestamp",
               k.updated_at as "updated_at: Timestamp",
               (select coalesce(json_agg(json_build_object('id', c.id, 'slug', c.slug, 'name', c.name) order by c.name_key, c.id), '[]')
                  from company_categories l join categories c on c.id = l.category_id and c.deleted_at is null
                 where l.company_id = k.id) as "categories!: Json<Vec<CategoryLink>>"
          from companies k
         where k.id = coalesce($2, (select s.id from companies s where s.slug = $1))
           and k.deleted_at is null and (k.status <> 'draft' or $3)
        "#,
        which.slug(),
        which.id(),
        drafts
    )
    .fetch_optional(&mut *snapshot)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let terms = terms::first_of_company(&mut snapshot, &row.slug, row.id).await?;
    let number = postgres::position(&mut snapshot).await?;
    let mut keys = Keys::default();
    keys.add(format!("company:{}", row.id));
    keys.add(format!("slug:company/{}", row.slug));
    keys.add(format!("company:{}/terms", row.id));
    row.categories.iter().for_each(|category| keys.add(format!("category:{}/card", category.id)));
    terms.items.iter().for_each(|card| card.add_keys(&mut keys));
    let page = CompanyPage {
        id: row.id,
        slug: row.slug,
        name: row.name,
        description: row.description,
        website: row.website,
        country: row.country,
        founded_year: row.founded_year,
        status: CompanyStatus::of(&row.status)?,
        categories: row.categories.0,
        terms,
        published_at: row.published_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
        version: row.version,
    };
    Answer::json(&page, Some(row.revision_id), Seen { position: state.position(number), keys }).map(Some)
}
