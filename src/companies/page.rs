//! `GET /companies/{slug}`: a company with its categories and the first of its terms.

use actix_web::{
    get,
    web::{Data, Path},
};
use serde::Serialize;
use sqlx::types::Json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    categories::CategoryLink,
    changes::{Keys, Seen},
    clock::Timestamp,
    editorial::Kind,
    error::Error,
    http::{
        answer::Answer,
        auth::Reader,
        lookup::{self, Segment},
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
    /// Always `published`: only then it shows.
    #[schema(example = "published")]
    pub status: String,
    /// By name.
    pub categories: Vec<CategoryLink>,
    /// The published terms that it is known for, by name.
    pub terms: TermExcerpt,
    #[schema(value_type = String, format = DateTime)]
    pub published_at: Timestamp,
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
/// slug of the day.
#[utoipa::path(
    operation_id = "read_company",
    tag = TAG_COMPANIES,
    params(("slug" = String, Path, description = "The company's slug, a former one, or its id.", example = "anthropic", max_length = 100)),
    responses((status = 200, description = "The page of the company.", body = CompanyPage), EntityErrors),
    security((), ("bearer" = []))
)]
#[get("/companies/{slug}")]
pub async fn read_company(state: Data<State>, path: Path<String>, query: Query, _: Reader) -> Result<Answer, Error> {
    query.finish()?;
    let segment = Segment::of(&path);
    if let Segment::Slug(slug) = &segment
        && let Some((page, revision, seen)) = read(&state, slug.as_str()).await?
    {
        return Answer::json(&page, Some(revision), seen);
    }
    lookup::elsewhere(&state, Kind::Company, "companies", &segment).await
}

async fn read(state: &State, slug: &str) -> Result<Option<(CompanyPage, Uuid, Seen)>, Error> {
    let mut snapshot = postgres::snapshot(&state.database).await?;
    let row = sqlx::query!(
        r#"
        select k.id, k.slug, k.name, k.description, k.website, k.country, k.founded_year, k.status, k.version, k.revision_id,
               k.published_at as "published_at!: Timestamp", k.created_at as "created_at: Timestamp",
               k.updated_at as "updated_at: Timestamp",
               (select coalesce(json_agg(json_build_object('id', c.id, 'slug', c.slug, 'name', c.name) order by c.name_key, c.id), '[]')
                  from company_categories l join categories c on c.id = l.category_id and c.deleted_at is null
                 where l.company_id = k.id) as "categories!: Json<Vec<CategoryLink>>"
          from companies k
         where k.slug = $1 and k.is_public
        "#,
        slug
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
        status: row.status,
        categories: row.categories.0,
        terms,
        published_at: row.published_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
        version: row.version,
    };
    Ok(Some((page, row.revision_id, Seen { position: state.position(number), keys })))
}
