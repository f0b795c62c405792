//! Categories: `/categories` and below. A tree; always public.

mod document;
mod edit;
mod list;
mod page;

pub use document::CategoryDocument;
pub use page::with_descendants;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{changes::Keys, openapi::Routes};

pub fn routes(routes: &mut Routes<'_>) {
    routes.service(list::list_categories).service(list::read_category_tree).service(page::read_category);
    edit::routes(routes);
}

/// A category, as another entity names it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CategoryLink {
    pub id: Uuid,
    #[schema(example = "core-concepts")]
    pub slug: String,
    #[schema(example = "Core Concepts")]
    pub name: String,
}

/// A category with the way to it from the top.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CategoryTrail {
    pub id: Uuid,
    #[schema(example = "core-concepts")]
    pub slug: String,
    #[schema(example = "Core Concepts")]
    pub name: String,
    /// The categories above it, from the top down.
    pub ancestors: Vec<CategoryLink>,
}

impl CategoryTrail {
    /// What an answer that shows this trail was made from.
    pub fn add_keys(&self, keys: &mut Keys) {
        keys.add(format!("category:{}/card", self.id));
        self.ancestors.iter().for_each(|category| keys.add(format!("category:{}/card", category.id)));
    }
}

/// A category as it shows in lists and on its parent's page.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CategoryCard {
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
}
