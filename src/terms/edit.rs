//! Writing a term: its document, its history, the trash.
#![expect(unused_qualifications, reason = "what utoipa writes has the place of our names")]

use crate::editorial::operations;

operations! {
    TermDocument => TermPage, TermCreate, TermPatch, TermRevision;
    "term", "foundation-model", TAG_TERMS, Contributor "contributor";
    "/terms", "/terms/{slug}", "/terms/{slug}/document", "/terms/{slug}/restore";
    "/terms/{slug}/revisions", "/terms/{slug}/revisions/{version}", "/terms/{slug}/revisions/{version}/diff/{other}",
    "/terms/{slug}/revisions/{version}/restore";
    {
        "name": "Catastrophic Forgetting",
        "definition": "The loss of what a neural network has learned before, when it is trained on something new.",
        "category": "core-concepts",
        "related": ["fine-tuning"],
        "status": "published"
    }, { "reviewed_on": "2026-11-24", "aliases": [{ "name": "Base model" }, { "name": "FM", "kind": "acronym" }] };
}
