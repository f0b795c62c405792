//! `GET /categories/{slug}`: a category with the first of its terms and companies.

use actix_web::{get, web::Data};
use serde::Serialize;
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{CategoryCard, CategoryDocument, CategoryLink};
use crate::{
    changes::{Keys, Seen},
    clock::Timestamp,
    companies::{self, CompanyExcerpt},
    editorial::Which,
    error::Error,
    http::{
        answer::Answer,
        auth::Reader,
        lookup::{self, Address},
        query::Query,
    },
    openapi::{EntityErrors, TAG_CATEGORIES},
    postgres,
    state::State,
    terms::{self, TermExcerpt},
};

/// The whole page of a category.
#[derive(Debug, Serialize, ToSchema)]
pub struct CategoryPage {
    /// Never changes: `/categories/{id}` leads to the slug of the day.
    pub id: Uuid,
    #[schema(example = "core-concepts")]
    pub slug: String,
    #[schema(example = "Core Concepts")]
    pub name: String,
    /// Plain text.
    pub description: String,
    /// The slug of the category above; `null` at the top.
    #[schema(required)]
    pub parent: Option<String>,
    /// The categories above it, from the top down.
    pub ancestors: Vec<CategoryLink>,
    /// How many published terms it has, those of the categories below included.
    #[schema(minimum = 0, example = 7)]
    pub term_count: i64,
    /// How many companies name it.
    #[schema(minimum = 0, example = 9)]
    pub company_count: i64,
    /// The categories right below it, by rank and name.
    pub children: Vec<CategoryCard>,
    /// Published terms of it and of the categories below, by name.
    pub terms: TermExcerpt,
    /// Companies that name it, by name.
    pub companies: CompanyExcerpt,
    /// Its place among its siblings, lowest first.
    #[schema(minimum = 0, maximum = 1_000_000, example = 1)]
    pub rank: i32,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the category itself was last changed; its terms' changes leave it as it is.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// How often the category was written, from 1.
    #[schema(minimum = 1, example = 1)]
    pub version: i64,
}

/// Read a category
///
/// A category with its place in the tree, and the first of its terms and companies. A former slug, or the category's
/// id, leads to the slug of the day.
#[utoipa::path(
    operation_id = "read_category",
    tag = TAG_CATEGORIES,
    params(("slug" = String, Path, description = "The category's slug, a former one, or its id.", example = "core-concepts", max_length = 100)),
    responses((status = 200, description = "The page of the category.", body = CategoryPage), EntityErrors),
    security((), ("bearer" = []))
)]
#[get("/categories/{slug}")]
pub async fn read_category(
    state: Data<State>,
    address: Address,
    query: Query,
    reader: Reader,
) -> Result<Answer, Error> {
    query.finish()?;
    lookup::page::<CategoryDocument<Uuid>>(&state, &address, &reader).await
}

pub(super) async fn answer(state: &State, which: Which<'_>) -> Result<Option<Answer>, Error> {
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let row = sqlx::query!(
        r#"
        select c.id, c.slug, c.name, c.description, c.rank, c.version, c.revision_id,
               c.created_at as "created_at: Timestamp", c.updated_at as "updated_at: Timestamp",
               (with recursive up (id, slug, name, parent_id, height) as (
                    select p.id, p.slug, p.name, p.parent_id, 1 from categories p where p.id = c.parent_id
                    union all
                    select p.id, p.slug, p.name, p.parent_id, up.height + 1 from up join categories p on p.id = up.parent_id
                )
                select coalesce(json_agg(json_build_object('id', id, 'slug', slug, 'name', name) order by height desc), '[]')
                  from up) as "ancestors!: Json<Vec<CategoryLink>>",
               (select coalesce(json_agg(k.card order by k.rank, k.name_key, k.id), '[]')
                  from category_cards k where k.parent_id = c.id) as "children!: Json<Vec<CategoryCard>>"
          from categories c
         where c.id = coalesce($2, (select s.id from categories s where s.slug = $1))
           and c.deleted_at is null
        "#,
        which.slug(),
        which.id()
    )
    .fetch_optional(&mut *snapshot)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let below = with_descendants(&mut snapshot, row.id).await?;
    let terms = terms::first_of_category(&mut snapshot, &row.slug, below).await?;
    let companies = companies::first_of_category(&mut snapshot, &row.slug, row.id).await?;
    let number = postgres::position(&mut snapshot).await?;

    let mut keys = Keys::default();
    keys.add(format!("category:{}", row.id));
    keys.add(format!("slug:category/{}", row.slug));
    keys.add(format!("category:{}/terms", row.id));
    keys.add(format!("category:{}/companies", row.id));
    row.ancestors.iter().for_each(|category| keys.add(format!("category:{}/card", category.id)));
    for child in row.children.iter() {
        // A child's card has counts.
        keys.add(format!("category:{}/card", child.id));
        keys.add(format!("category:{}/terms", child.id));
        keys.add(format!("category:{}/companies", child.id));
    }
    terms.items.iter().for_each(|card| card.add_keys(&mut keys));
    companies.items.iter().for_each(|card| card.add_keys(&mut keys));
    let page = CategoryPage {
        id: row.id,
        slug: row.slug,
        name: row.name,
        description: row.description,
        parent: row.ancestors.last().map(|parent| parent.slug.clone()),
        ancestors: row.ancestors.0,
        term_count: terms.total,
        company_count: companies.total,
        children: row.children.0,
        terms,
        companies,
        rank: row.rank,
        created_at: row.created_at,
        updated_at: row.updated_at,
        version: row.version,
    };
    Answer::json(&page, Some(row.revision_id), Seen { position: state.position(number), keys }).map(Some)
}

/// A category and all below it; itself first.
///
/// # Errors
/// A database that does not answer.
pub async fn with_descendants(conn: &mut PgConnection, id: Uuid) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        with recursive below (id, depth) as (
            select $1::uuid, 0
            union all
            select c.id, below.depth + 1 from below join categories c on c.parent_id = below.id where c.deleted_at is null
        )
        select id as "id!" from below order by depth
        "#,
        id
    )
    .fetch_all(conn)
    .await
}
