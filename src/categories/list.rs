//! `GET /categories`: all of them, flat; and `GET /category-tree`, the same as a tree.

use std::iter::Peekable;

use actix_web::{get, web::Data};
use serde::Serialize;
use sqlx::types::Json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::CategoryCard;
use crate::{
    changes::{Keys, Seen},
    error::Error,
    http::{answer::Answer, auth::Reader, query::Query},
    openapi::{ListErrors, TAG_CATEGORIES},
    state::State,
};

/// All categories. There is always one page: a glossary has tens of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct CategoryList {
    pub items: Vec<CategoryCard>,
    /// Always `null`: the list has one page.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// How many categories there are.
    #[schema(minimum = 0, example = 4)]
    pub total: i64,
}

/// All categories as a tree.
#[derive(Debug, Serialize, ToSchema)]
pub struct CategoryTree {
    /// Those at the top, by rank and name.
    pub items: Vec<CategoryNode>,
}

/// A category's card, with those of the categories below it.
#[derive(Debug, Serialize, ToSchema)]
pub struct CategoryNode {
    pub id: Uuid,
    /// The last part of the category's address, `/categories/{slug}`.
    #[schema(example = "core-concepts")]
    pub slug: String,
    #[schema(example = "Core Concepts")]
    pub name: String,
    /// Plain text.
    pub description: String,
    /// The slug of the category above; `null` at the top.
    #[schema(required)]
    pub parent: Option<String>,
    /// How many published terms it has, those of the categories below included.
    #[schema(minimum = 0, example = 7)]
    pub term_count: i64,
    /// How many companies name it.
    #[schema(minimum = 0, example = 9)]
    pub company_count: i64,
    /// The categories right below it, by rank and name.
    #[schema(no_recursion)]
    pub children: Vec<CategoryNode>,
}

impl CategoryNode {
    fn of(card: CategoryCard, children: Vec<CategoryNode>) -> Self {
        let CategoryCard { id, slug, name, description, parent, term_count, company_count } = card;
        CategoryNode { id, slug, name, description, parent, term_count, company_count, children }
    }
}

/// List categories
///
/// All categories, flat: parents before their children, siblings by rank and name. `parent` makes the tree, as
/// `/category-tree` has it.
#[utoipa::path(
    operation_id = "list_categories",
    tag = TAG_CATEGORIES,
    responses((status = 200, description = "All categories.", body = CategoryList), ListErrors),
    security((), ("bearer" = []))
)]
#[get("/categories")]
pub async fn list_categories(state: Data<State>, query: Query, _: Reader) -> Result<Answer, Error> {
    query.finish()?;
    let (items, seen) = all(&state).await?;
    let total = i64::try_from(items.len()).map_err(Error::internal)?;
    Answer::json(&CategoryList { items, next_cursor: None, total }, None, seen)
}

/// Read the category tree
///
/// All categories, each with those below it; siblings by rank and name. There are 20 levels at most.
#[utoipa::path(
    operation_id = "read_category_tree",
    tag = TAG_CATEGORIES,
    responses((status = 200, description = "All categories.", body = CategoryTree), ListErrors),
    security((), ("bearer" = []))
)]
#[get("/category-tree")]
pub async fn read_category_tree(state: Data<State>, query: Query, _: Reader) -> Result<Answer, Error> {
    query.finish()?;
    let (cards, seen) = all(&state).await?;
    let items = nested(None, &mut cards.into_iter().peekable());
    Answer::json(&CategoryTree { items }, None, seen)
}

/// The cards that stand right below `parent`, each with its own: they come parents first, as `all` reads them.
fn nested(parent: Option<&str>, cards: &mut Peekable<impl Iterator<Item = CategoryCard>>) -> Vec<CategoryNode> {
    let mut nodes = Vec::new();
    while let Some(card) = cards.next_if(|card| card.parent.as_deref() == parent) {
        let children = nested(Some(&card.slug), cards);
        nodes.push(CategoryNode::of(card, children));
    }
    nodes
}

/// All cards, parents before their children, siblings by rank and name.
async fn all(state: &State) -> Result<(Vec<CategoryCard>, Seen), Error> {
    let row = sqlx::query!(
        r#"
        with recursive tree (id, path) as (
            select c.id, array[(c.rank, c.name_key, c.id)] from categories c where c.parent_id is null and c.deleted_at is null
            union all
            select c.id, tree.path || (c.rank, c.name_key, c.id) from tree join categories c on c.parent_id = tree.id where c.deleted_at is null
        )
        select coalesce(json_agg(k.card order by tree.path), '[]') as "items!: Json<Vec<CategoryCard>>",
               coalesce((select max(position) from changes), 0) as "position!"
          from tree join category_cards k on k.id = tree.id
        "#
    )
    .fetch_one(&state.database())
    .await?;
    let items = row.items.0;
    let mut keys = Keys::default();
    keys.add("categories".into());
    items.iter().for_each(|card| keys.add(format!("category:{}/card", card.id)));
    Ok((items, Seen { position: state.position(row.position), keys }))
}
