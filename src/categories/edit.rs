//! Writing a category: its document, its history, the trash.
#![expect(unused_qualifications, reason = "what utoipa writes has the place of our names")]

use crate::editorial::operations;

operations! {
    CategoryDocument => CategoryPage, CategoryCreate, CategoryPatch, CategoryRevision;
    "category", "core-concepts", TAG_CATEGORIES, Editor "editor";
    "/categories", "/categories/{slug}", "/categories/{slug}/document", "/categories/{slug}/restore";
    "/categories/{slug}/revisions", "/categories/{slug}/revisions/{version}", "/categories/{slug}/revisions/{version}/diff/{other}",
    "/categories/{slug}/revisions/{version}/restore";
    { "name": "Evaluation", "description": "How models are measured.", "rank": 9 }, { "description": "What everything else is made of." };
}
