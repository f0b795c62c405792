//! Writing a company: its document, its history, the trash.
#![expect(unused_qualifications, reason = "what utoipa writes has the place of our names")]

use crate::editorial::operations;

operations! {
    CompanyDocument => CompanyPage, CompanyCreate, CompanyPatch, CompanyRevision;
    "company", "anthropic", TAG_COMPANIES, Contributor "contributor";
    "/companies", "/companies/{slug}", "/companies/{slug}/document", "/companies/{slug}/restore";
    "/companies/{slug}/revisions", "/companies/{slug}/revisions/{version}", "/companies/{slug}/revisions/{version}/diff/{other}",
    "/companies/{slug}/revisions/{version}/restore";
    {
        "name": "Example Laboratory",
        "description": "A laboratory that stands for any other.",
        "country": "DE",
        "categories": ["core-concepts"],
        "status": "published"
    }, { "founded_year": 2021, "website": "https://www.anthropic.com" };
}
