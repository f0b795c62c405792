//! A company's categories, one at a time.

use actix_web::{
    delete, put,
    web::{Data, Path},
};
use uuid::Uuid;

use super::{CompanyDocument, page::CompanyPage};
use crate::{
    editorial::{
        Kind,
        edit::{self, Intent, MessageParam},
        link_operations,
    },
    error::Error,
    http::{
        answer::Answer,
        auth::Contributor,
        lookup::{self, Address},
        precondition::IfMatch,
        query::Query,
    },
    openapi::{EditErrors, Routes, TAG_COMPANIES},
    state::State,
};

pub(super) fn routes(routes: &mut Routes<'_>) {
    routes.service(put_category).service(delete_category);
}

link_operations! {
    CompanyDocument => CompanyPage; TAG_COMPANIES, "anthropic";
    put_category "put_company_category" "Add a category to a company",
    delete_category "delete_company_category" "Remove a category from a company";
    "/companies/{slug}/categories/{other}", "categories", Kind::Category, "core-concepts";
}
