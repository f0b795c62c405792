//! Companies: `/companies` and below.

mod document;
mod edit;
mod list;
mod members;
mod page;

pub use document::{CompanyDocument, CompanyStatus};
pub use list::{CompanyExcerpt, TermCompanies, excerpt_of_term, first_of_category};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{changes::Keys, openapi::Routes};

pub fn routes(routes: &mut Routes<'_>) {
    routes.service(list::list_companies).service(page::read_company);
    edit::routes(routes);
    members::routes(routes);
}

/// A company as it shows in lists and on pages of terms and categories.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CompanyCard {
    pub id: Uuid,
    /// The last part of the company's address, `/companies/{slug}`.
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
    /// `draft` only in lists of drafts.
    pub status: CompanyStatus,
}

impl CompanyCard {
    /// What an answer that shows this card was made from.
    pub fn add_keys(&self, keys: &mut Keys) {
        keys.add(format!("company:{}/card", self.id));
    }
}
