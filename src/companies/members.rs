//! A company's categories, one at a time.

use actix_web::{
    delete, put,
    web::{Data, Path},
};
use uuid::Uuid;

use super::{CompanyDocument, page::CompanyPage};
use crate::{
    editorial::{
        Kind, LINK_ADDED, LINK_REMOVED,
        edit::{self, Intent, MessageParam},
        link_operation,
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

link_operation! {
    put put_category "put_company_category": "Add a category to a company", LINK_ADDED;
    CompanyDocument => CompanyPage, TAG_COMPANIES, "anthropic";
    "/companies/{slug}/categories/{other}", "categories", Kind::Category, "core-concepts", edit::put_link::<CompanyDocument<Uuid>>;
}

link_operation! {
    delete delete_category "delete_company_category": "Remove a category from a company", LINK_REMOVED;
    CompanyDocument => CompanyPage, TAG_COMPANIES, "anthropic";
    "/companies/{slug}/categories/{other}", "categories", Kind::Category, "core-concepts", edit::delete_link::<CompanyDocument<Uuid>>;
}
