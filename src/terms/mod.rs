//! Terms: `/terms` and below.

mod document;
mod edit;
mod jsonld;
mod links;
mod list;
mod members;
mod page;
mod render;

pub use document::{Alias, AliasKind, Source, TermDocument, TermStatus};
pub use list::{TermExcerpt, first_of_category, first_of_company};
pub use render::render_again;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{categories::CategoryLink, changes::Keys, openapi::Routes};

pub fn routes(routes: &mut Routes<'_>) {
    routes.service(list::list_terms).service(page::read_term).service(jsonld::read_term_jsonld);
    edit::routes(routes);
    members::routes(routes);
}

/// A term as it shows in lists, relations and search.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TermCard {
    pub id: Uuid,
    /// The last part of the term's address, `/terms/{slug}`.
    #[schema(example = "foundation-model")]
    pub slug: String,
    #[schema(example = "Foundation Model")]
    pub name: String,
    /// Short forms of the name, in the editor's order.
    #[schema(example = json!(["FM"]))]
    pub acronyms: Vec<String>,
    /// Plain text of one to three sentences.
    pub definition: String,
    pub category: CategoryLink,
    /// `draft` only in lists of drafts.
    pub status: TermStatus,
}

impl TermCard {
    /// What an answer that shows this card was made from.
    pub fn add_keys(&self, keys: &mut Keys) {
        keys.add(format!("term:{}/card", self.id));
        keys.add(format!("category:{}/card", self.category.id));
    }
}
