//! Drafts: who writes them, who sees them, and that nobody else learns of them.

use reqwest::Method;
use serde_json::{Value, json};
use termbase::tokens::Role;

use crate::{
    desk::{Desk, at, draft, glossary, published, slugs, with},
    support::Answer,
};

// Publishing

#[tokio::test]
async fn a_contributor_makes_a_draft_and_an_editor_publishes_it() {
    let app = glossary().await;
    let (contributor, editor) = (Desk::of(&app, Role::Contributor).await, Desk::of(&app, Role::Editor).await);
    let made = contributor.post("/terms", &json!({"name": "New", "definition": "D.", "category": "c"})).await.ok();
    assert_eq!(
        (&made["status"], &made["published_at"]),
        (&json!("draft"), &Value::Null),
        "a draft, where nothing is said"
    );
    contributor.patch("/terms/new", &json!({"definition": "Better."})).await.ok();
    contributor.patch("/terms/new", &json!({"status": "published"})).await.problem(403, "forbidden");
    contributor.post("/terms", &published("other")).await.problem(403, "forbidden");
    let page = editor.patch("/terms/new", &json!({"status": "published"})).await.ok();
    assert!(page["published_at"].is_string());
    assert_eq!(app.get("/terms/new").await.status, 200);
    contributor.patch("/terms/new", &json!({"definition": "Mine."})).await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_viewer_writes_nothing() {
    let app = glossary().await;
    let viewer = Desk::of(&app, Role::Viewer).await;
    let problem = viewer.post("/terms", &draft("n")).await.problem(403, "forbidden");
    assert!(problem["detail"].as_str().unwrap().contains("contributor"), "{problem}");
}

#[tokio::test]
async fn what_was_public_never_goes_back_to_draft() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for path in ["/terms/a", "/companies/k"] {
        let refused = editor.patch(path, &json!({"status": "draft"})).await;
        refused.problem(409, "conflict");
        assert_eq!(refused.faults(), at(&[("/status", "already_public")]), "{path}");
    }
    // Null is the member's default, and that is a draft.
    let refused = editor.patch("/terms/a", &json!({"status": null})).await;
    assert_eq!(refused.faults(), at(&[("/status", "already_public")]));
}

// Links that wait

#[tokio::test]
async fn a_relation_shows_once_both_ends_are_public_whichever_is_published_first() {
    for (member, inverse) in [("related", "related"), ("broader", "narrower"), ("replaced_by", "replaces")] {
        for order in [["from", "to"], ["to", "from"]] {
            let app = glossary().await;
            let (contributor, editor) = (Desk::of(&app, Role::Contributor).await, Desk::of(&app, Role::Editor).await);
            for slug in ["to", "from"] {
                contributor.post("/terms", &draft(slug)).await.ok();
            }
            contributor.link(&format!("/terms/from/{member}/to")).await.ok();
            let [first, second] = order;
            editor.patch(&format!("/terms/{first}"), &json!({"status": "published"})).await.ok();
            let shown = if first == "from" { member } else { inverse };
            assert_eq!(
                app.get(&format!("/terms/{first}")).await.ok()[shown],
                json!([]),
                "{member}, {first} first: it waits"
            );
            editor.patch(&format!("/terms/{second}"), &json!({"status": "published"})).await.ok();
            assert_eq!(slugs(&app.get("/terms/from").await.ok()[member]), ["to"], "{member}, {first} first");
            assert_eq!(slugs(&app.get("/terms/to").await.ok()[inverse]), ["from"], "{member}, {first} first");
        }
    }
}

#[tokio::test]
async fn a_public_terms_relation_to_a_draft_waits_in_its_document() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.post("/terms", &draft("n")).await.ok();
    let before = app.get("/terms/a").await.ok();
    let page = editor.link("/terms/a/related/n").await;
    assert_eq!(page.ok()["related"], json!([]), "what is public is the same bytes for every caller");
    assert_eq!(
        (editor.document("/terms/a").await["related"].clone(), before["related"].clone()),
        (json!(["n"]), json!([]))
    );
    editor.patch("/terms/n", &json!({"status": "published"})).await.ok();
    assert_eq!(slugs(&app.get("/terms/a").await.ok()["related"]), ["n"]);
    assert_eq!(editor.version("/terms/a").await, 2, "publishing the other makes no version of this");
}

#[tokio::test]
async fn links_of_companies_wait_as_well_in_either_order() {
    for company_first in [true, false] {
        let app = glossary().await;
        let editor = Desk::of(&app, Role::Editor).await;
        editor.post("/companies", &json!({"name": "N", "categories": ["e"]})).await.ok();
        editor.post("/terms", &with(with(draft("t"), "category", "e"), "companies", json!(["n"]))).await.ok();
        let publish = async |path: &str| editor.patch(path, &json!({"status": "published"})).await.ok();
        if company_first {
            publish("/companies/n").await;
            assert_eq!(app.get("/companies/n").await.ok()["terms"]["total"], 0);
            publish("/terms/t").await;
        } else {
            assert_eq!(app.get("/categories/e").await.ok()["companies"]["total"], 0);
            publish("/terms/t").await;
            assert_eq!(app.get("/terms/t").await.ok()["companies"]["total"], 0);
            publish("/companies/n").await;
        }
        let page = app.get("/terms/t").await.ok();
        assert_eq!((slugs(&page["companies"]["items"]), &page["companies"]["linked"]), (vec!["n".into()], &json!(1)));
        assert_eq!(slugs(&app.get("/companies/n").await.ok()["terms"]["items"]), ["t"]);
        assert_eq!(slugs(&app.get("/companies?category=e").await.ok()["items"]), ["n"]);
        assert_eq!(slugs(&app.get("/terms?company=n").await.ok()["items"]), ["t"]);
    }
}

// Who sees them

#[tokio::test]
async fn viewers_list_drafts_and_open_their_pages() {
    let app = glossary().await;
    let (contributor, viewer) = (Desk::of(&app, Role::Contributor).await, Desk::of(&app, Role::Viewer).await);
    for slug in ["n", "m"] {
        contributor.post("/terms", &with(draft(slug), "related", json!(["a"]))).await.ok();
    }
    let list = viewer.get("/terms?status=draft").await;
    let body = list.ok();
    assert_eq!((slugs(&body["items"]), &body["total"]), (vec!["m".into(), "n".into()], &json!(2)));
    assert!(body["items"].as_array().unwrap().iter().all(|card| card["status"] == "draft"));
    assert_eq!(list.header("cache-control"), "private, no-store");
    let page = viewer.get("/terms/n").await;
    assert_eq!((slugs(&page.ok()["related"]), page.header("cache-control")), (vec!["a".into()], "private, no-store"));
    Desk::anonymous(&app).get("/terms?status=draft").await.problem(401, "token_required");
}

#[tokio::test]
async fn deprecated_terms_are_listed_for_everyone_who_asks() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a", &json!({"status": "deprecated", "replaced_by": ["b"]})).await.ok();
    for desk in [Desk::anonymous(&app), Desk::of(&app, Role::Viewer).await] {
        let list = desk.get("/terms?status=deprecated").await.ok();
        assert_eq!((slugs(&list["items"]), &list["total"]), (vec!["a".into()], &json!(1)));
        assert_eq!(slugs(&desk.get("/terms").await.ok()["items"]), ["b", "d"]);
        let page = desk.get("/terms/a").await.ok();
        assert_eq!((&page["status"], slugs(&page["replaced_by"])), (&json!("deprecated"), vec!["b".into()]));
    }
}

#[tokio::test]
async fn what_is_public_is_the_same_bytes_with_a_token_and_without() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    hide(&editor).await;
    for path in ["/terms", "/terms/a", "/categories", "/categories/c", "/companies", "/companies/k", "/terms?company=k"]
    {
        assert_eq!(editor.get(path).await.bytes, app.get(path).await.bytes, "{path}");
    }
}

// Who does not

/// A word that stands in everything hidden, and nowhere else.
const SECRET: &str = "zweihander";

/// Drafts that are tied to everything that is public; one has had another slug.
async fn hide(editor: &Desk<'_>) {
    let term = json!({
        "name": "Zweihander", "definition": "A zweihander.", "category": "c", "related": ["a", "b"], "broader": ["d"],
        "companies": ["k"], "aliases": [{"name": "zweihander sword"}, {"name": "ZWH", "kind": "acronym"}],
    });
    editor.post("/terms", &term).await.ok();
    editor.patch("/terms/zweihander", &json!({"slug": "zweihander-draft"})).await.ok();
    let company = json!({"name": "Zweihander Works", "categories": ["c"], "description": "A zweihander maker."});
    editor.post("/companies", &company).await.ok();
    editor
        .patch("/terms/a", &json!({"related": ["zweihander-draft"], "companies": ["zweihander-works", "k"]}))
        .await
        .ok();
    editor.patch("/terms/b", &json!({"replaced_by": ["zweihander-draft"]})).await.ok();
}

/// What an answer says, less where in the log it was: positions may count hidden writes.
fn said(answer: &Answer) -> (u16, Value, Vec<(String, String)>) {
    let mut body: Value = serde_json::from_slice(&answer.bytes).unwrap_or_default();
    let dates = ["version", "updated_at"];
    if let Some(members) = body.as_object_mut() {
        members.retain(|name, _| !dates.contains(&name.as_str()));
    }
    let told = ["location", "link", "cache-control", "vary", "content-type", "surrogate-key", "allow"];
    let headers = answer.headers.iter().filter(|(name, _)| told.contains(&name.as_str()));
    let mut headers: Vec<(String, String)> =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    headers.sort();
    (answer.status.as_u16(), body, headers)
}

/// Every address of a small glossary that anyone may ask for, and those of what is hidden there.
fn addresses(hidden: &[String]) -> Vec<String> {
    let mut all: Vec<String> = [
        "/",
        "/terms",
        "/terms?limit=1",
        "/terms?category=c",
        "/terms?category=c&company=k",
        "/terms?company=k",
        "/terms?status=deprecated",
        "/terms?status=published",
        "/companies",
        "/companies?category=c",
        "/companies?term=a",
        "/companies?limit=1",
        "/categories",
        "/categories/c",
        "/categories/e",
        "/terms/a",
        "/terms/b",
        "/terms/d",
        "/terms/a.jsonld",
        "/sitemap.xml",
        "/feed.atom",
        "/companies/k",
        "/companies/l",
        "/terms/unknown",
        "/terms/zwh",
        "/terms/zweihander-sword",
    ]
    .map(ToOwned::to_owned)
    .into();
    for kind in ["terms", "companies", "categories"] {
        for slug in
            ["zweihander", "zweihander-draft", "zweihander-works", "zweihander-drafts", "zweihandr", "Zweihander"]
        {
            all.extend(["", ".jsonld"].map(|ending| format!("/{kind}/{slug}{ending}")));
        }
        all.extend(hidden.iter().map(|id| format!("/{kind}/{id}")));
    }
    for filter in ["/terms?company=", "/companies?term=", "/terms?category=", "/companies?category="] {
        for slug in ["zweihander-draft", "zweihander-works", "zweihander", "zweihandr"] {
            all.push(format!("{filter}{slug}"));
        }
        all.extend(hidden.iter().map(|id| format!("{filter}{id}")));
    }
    all
}

/// The same glossary with drafts in it and without answers the anonymous alike, at every address.
#[tokio::test]
async fn a_draft_shows_nowhere_to_the_anonymous() {
    // Two with the same clock, so that what is public has the same ids.
    let (hiding, plain) = (glossary().await, glossary().await);
    let editor = Desk::of(&hiding, Role::Editor).await;
    hide(&editor).await;
    let plainly = Desk::of(&plain, Role::Editor).await;
    plainly.patch("/terms/a", &json!({"companies": ["k"]})).await.ok();
    let mut hidden = Vec::new();
    for path in ["/terms/zweihander-draft", "/companies/zweihander-works"] {
        hidden.push(editor.get(path).await.ok()["id"].as_str().unwrap().to_owned());
    }
    for address in addresses(&hidden) {
        let (with, without) = (hiding.get(&address).await, plain.get(&address).await);
        assert_eq!(said(&with), said(&without), "{address}");
        let text = String::from_utf8(with.bytes).unwrap().to_lowercase();
        // What was asked for may be said again.
        if !address.to_lowercase().contains("zweihand") {
            assert!(
                !text.contains(SECRET) && hidden.iter().all(|id| address.contains(id) || !text.contains(id)),
                "{address}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn other_methods_tell_the_anonymous_nothing_either() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    hide(&editor).await;
    let nobody = Desk::anonymous(&app);
    for (method, rest, body) in [
        (Method::PATCH, "", Some(json!({}))),
        (Method::DELETE, "", None),
        (Method::PUT, "/document", Some(draft("x"))),
        (Method::GET, "/document", None),
        (Method::GET, "/revisions", None),
        (Method::POST, "/restore", None),
        (Method::PUT, "/related/a", None),
        (Method::OPTIONS, "", None),
        (Method::POST, "", Some(json!({}))),
    ] {
        let ask =
            async |slug: &str| nobody.send(method.clone(), &format!("/terms/{slug}{rest}"), body.as_ref(), &[]).await;
        for slug in ["zweihander", "zweihander-draft"] {
            let (draft, nothing) = (ask(slug).await, ask("nothing").await);
            let plain =
                |answer: &Answer| String::from_utf8_lossy(&answer.bytes).replace(slug, "…").replace("nothing", "…");
            assert_eq!((draft.status, plain(&draft)), (nothing.status, plain(&nothing)), "{method} {slug}{rest}");
        }
    }
}

#[tokio::test]
async fn a_drafts_working_slug_leads_the_anonymous_nowhere_once_it_is_public() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    hide(&editor).await;
    editor.patch("/terms/zweihander-draft", &json!({"slug": "longsword", "name": "Longsword", "aliases": [], "status": "published", "definition": "D."})).await.ok();
    assert_eq!(app.get("/terms/longsword").await.status, 200);
    for former in ["zweihander", "zweihander-draft"] {
        let refused = app.get(&format!("/terms/{former}")).await;
        assert_eq!(refused.problem(404, "not_found")["suggestions"], json!([]), "{former}");
        app.get(&format!("/companies?term={former}")).await.problem(400, "bad_request");
        let moved = editor.get(&format!("/terms/{former}")).await;
        assert_eq!(moved.header("location"), "/terms/longsword", "who may see drafts is led on");
    }
}

#[tokio::test]
async fn a_deleted_draft_is_as_unknown_as_before() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    hide(&editor).await;
    let before = app.get("/terms/zweihander-draft").await;
    editor.delete("/terms/zweihander-draft").await;
    let after = app.get("/terms/zweihander-draft").await;
    assert_eq!(said(&after), said(&before));
}
