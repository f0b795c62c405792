//! Deleting, restoring, purging.

use reqwest::Method;
use serde_json::{Value, json};
use termbase::tokens::Role;

use crate::{
    desk::{Desk, at, draft, glossary, position, published, slugs, with},
    support::TestApp,
};

/// The id of what is at a path, by whoever may see it.
async fn id(desk: &Desk<'_>, path: &str) -> String {
    desk.get(path).await.ok()["id"].as_str().unwrap().to_owned()
}

/// Deletes it, and purges it.
async fn purge(app: &TestApp, path: &str) {
    let admin = Desk::of(app, Role::Admin).await;
    let id = id(&admin, path).await;
    assert_eq!(admin.delete(path).await.status, 204, "{path}");
    assert_eq!(admin.delete(&format!("/trash/{id}")).await.status, 204, "{path}");
}

// Deleting

#[tokio::test]
async fn what_was_public_is_gone_and_what_never_was_is_not_found() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.post("/terms", &draft("n")).await.ok();
    editor.post("/companies", &json!({"name": "M"})).await.ok();
    let mut addresses = Vec::new();
    for (path, status) in
        [("/terms/a", 410), ("/terms/n", 404), ("/companies/k", 410), ("/companies/m", 404), ("/categories/e", 410)]
    {
        let (list, _) = path.rsplit_once('/').unwrap();
        addresses.push((format!("{list}/{}", id(&editor, path).await), status));
        addresses.push((path.to_owned(), status));
        let deleted = editor.delete(path).await;
        assert_eq!((deleted.status.as_u16(), deleted.bytes.len()), (204, 0), "{path}");
    }
    for (address, status) in addresses {
        let code = if status == 410 { "gone" } else { "not_found" };
        app.get(&address).await.problem(status, code);
        // Who may see drafts is told that it was there.
        editor.get(&address).await.problem(410, "gone");
    }
}

#[tokio::test]
async fn a_deletion_is_a_version_and_answers_with_its_position() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let before = position(&app).await;
    let deleted = editor.delete("/terms/a").await;
    assert!(deleted.header("termbase-position").ends_with(&format!("-{}", before + 1)));
    assert_eq!(editor.version("/terms/a").await, 2);
    editor.delete("/terms/a").await.problem(410, "gone");
    assert_eq!(position(&app).await, before + 1);
}

#[tokio::test]
async fn what_is_deleted_shows_in_no_list_and_no_count() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a", &json!({"companies": ["k"], "related": ["b"]})).await.ok();
    editor.delete("/terms/a").await;
    for list in ["/terms", "/terms?category=c", "/terms?company=k"] {
        let answer = app.get(list).await.ok();
        let shown = slugs(&answer["items"]);
        assert!(!shown.contains(&"a".into()) && answer["total"] == shown.len(), "{list}: {answer}");
    }
    assert_eq!(app.get("/terms/b").await.ok()["related"], json!([]));
    assert_eq!(app.get("/companies/k").await.ok()["terms"]["total"], 0);
    assert_eq!(app.get("/categories/c").await.ok()["terms"]["total"], 2);
    assert_eq!(editor.get("/terms?status=draft").await.ok()["total"], 0);
}

#[tokio::test]
async fn links_to_what_is_deleted_are_kept_in_the_documents() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.link("/terms/b/related/a").await.ok();
    editor.delete("/terms/a").await;
    let document = editor.document("/terms/b").await;
    assert_eq!(document["related"], json!(["a"]));
    assert_eq!(editor.put("/terms/b/document", &document).await.ok()["version"], 2, "sent back, it changes nothing");
}

// Restoring

#[tokio::test]
async fn what_is_restored_has_all_of_its_links_from_both_ends() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let mine = json!({"related": ["b"], "broader": ["d"], "companies": ["k"], "aliases": [{"name": "x"}]});
    editor.patch("/terms/a", &mine).await.ok();
    editor.post("/terms", &with(published("n"), "broader", json!(["a"]))).await.ok();
    editor.link("/terms/d/replaced_by/a").await.ok();
    editor.link("/companies/k/categories/e").await.ok();
    let mut before = Vec::new();
    let paths =
        ["/terms/a", "/terms/b", "/terms/d", "/terms/n", "/companies/k", "/categories/c", "/terms", "/categories"];
    for path in paths {
        before.push(app.get(path).await);
    }
    editor.delete("/terms/a").await;
    editor.delete("/companies/k").await;
    let restored = editor.restore("/companies/k").await;
    assert_eq!(restored.status, 200);
    let restored = editor.restore("/terms/a").await;
    assert_eq!((restored.status.as_u16(), &restored.bytes), (200, &app.get("/terms/a").await.bytes));
    let same = |mut page: Value| {
        for name in ["version", "updated_at"] {
            page.as_object_mut().unwrap().remove(name);
        }
        page
    };
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(same(app.get(path).await.ok()), same(before.ok()), "{path}");
    }
}

#[tokio::test]
async fn restoring_what_is_not_in_the_trash_changes_nothing() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let before = position(&app).await;
    for path in ["/terms/a", "/categories/c", "/companies/k"] {
        assert_eq!(editor.restore(path).await.ok()["version"], 1, "{path}");
    }
    assert_eq!(position(&app).await, before);
    editor.restore("/terms/nothing").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_deleted_ones_name_is_free_and_its_slug_is_not() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.delete("/terms/a").await;
    let refused = editor.post("/terms", &with(published("a"), "name", "Another")).await;
    assert_eq!((refused.status.as_u16(), refused.faults()), (409, at(&[("/slug", "slug_taken")])));
    let made = editor.post("/terms", &json!({"name": "A", "definition": "D.", "category": "c"})).await.ok();
    assert_eq!(made["slug"], "a-2");
    let refused = editor.restore("/terms/a").await;
    refused.problem(409, "conflict");
    assert_eq!((refused.faults(), refused.conflicts()), (at(&[("/name", "name_taken")]), vec!["a-2".into()]));
    editor.patch("/terms/a-2", &json!({"name": "Second A"})).await.ok();
    assert_eq!(editor.restore("/terms/a").await.ok()["name"], "a");
}

#[tokio::test]
async fn what_is_restored_under_a_former_slug_leads_on_first() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a", &json!({"slug": "a2"})).await.ok();
    editor.delete("/terms/a2").await;
    let moved = editor.restore("/terms/a").await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (308, "/terms/a2/restore"));
}

// Categories

#[tokio::test]
async fn a_category_in_which_something_stands_stays_and_says_what() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.post("/categories", &json!({"name": "Below", "parent": "c"})).await.ok();
    editor.post("/terms", &draft("n")).await.ok();
    editor.delete("/terms/b").await;
    let refused = editor.delete("/categories/c").await;
    let problem = refused.problem(409, "conflict");
    assert_eq!(refused.conflicts(), ["below", "a", "b", "d", "n"], "drafts and what is in the trash count");
    assert!(problem["detail"].as_str().unwrap().contains("trash"), "{problem}");
    assert_eq!(app.get("/categories/c").await.status, 200);
}

#[tokio::test]
async fn a_category_whose_last_term_went_for_good_can_be_deleted() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.post("/terms", &with(published("n"), "category", "e")).await.ok();
    editor.delete("/terms/n").await;
    assert_eq!(editor.delete("/categories/e").await.conflicts(), ["n"], "else it could not come back");
    editor.restore("/terms/n").await.ok();
    purge(&app, "/terms/n").await;
    assert_eq!(editor.delete("/categories/e").await.status, 204);
}

#[tokio::test]
async fn companies_of_a_deleted_category_keep_it_unseen() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.link("/companies/k/categories/e").await.ok();
    editor.delete("/categories/e").await;
    assert_eq!(app.get("/companies/k").await.ok()["categories"], json!([]));
    assert_eq!(editor.document("/companies/k").await["categories"], json!(["e"]));
    editor.restore("/categories/e").await.ok();
    assert_eq!(slugs(&app.get("/companies/k").await.ok()["categories"]), ["e"]);
}

#[tokio::test]
async fn nothing_new_can_stand_in_a_deleted_category() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.delete("/categories/e").await;
    for (path, body, place) in [
        ("/terms", with(published("n"), "category", "e"), "/category"),
        ("/categories", json!({"name": "Below", "parent": "e"}), "/parent"),
    ] {
        let refused = editor.post(path, &body).await;
        assert_eq!(refused.faults(), at(&[(place, "deleted_reference")]), "{path}");
    }
}

#[tokio::test]
async fn a_child_comes_back_after_its_parent() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.post("/categories", &json!({"name": "Below", "parent": "e"})).await.ok();
    editor.delete("/categories/below").await;
    assert_eq!(editor.delete("/categories/e").await.status, 204, "a child in the trash is no hindrance");
    let refused = editor.restore("/categories/below").await;
    refused.problem(409, "conflict");
    assert_eq!((refused.faults(), refused.conflicts()), (at(&[("/parent", "deleted_reference")]), vec!["e".into()]));
    editor.restore("/categories/e").await.ok();
    editor.restore("/categories/below").await.ok();
    assert_eq!(editor.document("/categories/below").await["parent"], "e");
}

#[tokio::test]
async fn a_child_whose_parent_went_for_good_comes_back_to_the_top() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.post("/categories", &json!({"name": "Below", "parent": "e"})).await.ok();
    editor.delete("/categories/below").await;
    purge(&app, "/categories/e").await;
    editor.restore("/categories/below").await.ok();
    assert_eq!(editor.document("/categories/below").await["parent"], Value::Null);
}

// Purging

#[tokio::test]
async fn what_is_purged_is_not_found_and_its_slugs_are_free() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let old = id(&editor, "/terms/a").await;
    editor.patch("/terms/a", &json!({"slug": "a2"})).await.ok();
    purge(&app, "/terms/a2").await;
    for address in ["/terms/a", "/terms/a2", &format!("/terms/{old}")] {
        app.get(address).await.problem(404, "not_found");
        editor.get(address).await.problem(404, "not_found");
        editor.get(&format!("{address}/revisions")).await.problem(404, "not_found");
    }
    for slug in ["a", "a2"] {
        let made = editor.post("/terms", &published(slug)).await;
        assert_eq!((made.status.as_u16(), made.json()["version"].clone()), (201, json!(1)), "{slug}");
        assert_eq!(editor.get(&format!("/terms/{slug}/revisions")).await.ok()["total"], 1);
    }
}

#[tokio::test]
async fn whoever_had_a_link_gets_a_new_version_without_it() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/b", &json!({"related": ["a", "d"], "replaced_by": ["a"]})).await.ok();
    editor.post("/terms", &with(draft("n"), "broader", json!(["a"]))).await.ok();
    editor.post("/terms", &with(published("o"), "related", json!(["a"]))).await.ok();
    editor.delete("/terms/o").await;
    let admin = Desk::of(&app, Role::Admin).await;
    let gone = id(&admin, "/terms/a").await;
    admin.delete("/terms/a").await;
    let before = position(&app).await;
    let purged = admin.delete(&format!("/trash/{gone}?message=By+law")).await;
    assert_eq!((purged.status.as_u16(), position(&app).await), (204, before + 4));
    for (path, version) in [("/terms/b", 3), ("/terms/n", 2), ("/terms/o", 3)] {
        let newest = editor.get(&format!("{path}/revisions")).await.ok()["items"][0].clone();
        assert_eq!((&newest["version"], &newest["what"]), (&json!(version), &json!("updated")), "{path}");
        assert_eq!((&newest["author"], &newest["message"]), (&json!("test admin"), &json!("By law")), "{path}");
    }
    let document = editor.document("/terms/b").await;
    assert_eq!((&document["related"], &document["replaced_by"]), (&json!(["d"]), &json!([])));
    assert_eq!(editor.restore("/terms/o").await.ok()["related"], json!([]), "it had stayed in the trash");
}

#[tokio::test]
async fn a_purged_company_and_category_leave_their_links() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.link("/terms/a/companies/k").await.ok();
    editor.link("/companies/l/categories/e").await.ok();
    purge(&app, "/companies/k").await;
    purge(&app, "/categories/e").await;
    assert_eq!(
        (editor.document("/terms/a").await["companies"].clone(), editor.version("/terms/a").await),
        (json!([]), 3)
    );
    assert_eq!(
        (editor.document("/companies/l").await["categories"].clone(), editor.version("/companies/l").await),
        (json!([]), 3)
    );
}

#[tokio::test]
async fn a_deprecated_terms_only_replacement_is_not_purged() {
    let app = glossary().await;
    let (editor, admin) = (Desk::of(&app, Role::Editor).await, Desk::of(&app, Role::Admin).await);
    editor.patch("/terms/a", &json!({"status": "deprecated", "replaced_by": ["b"]})).await.ok();
    let gone = id(&admin, "/terms/b").await;
    admin.delete("/terms/b").await;
    let refused = admin.delete(&format!("/trash/{gone}")).await;
    refused.problem(409, "conflict");
    assert_eq!(refused.conflicts(), ["a"]);
    editor.link("/terms/a/replaced_by/d").await.ok();
    assert_eq!(admin.delete(&format!("/trash/{gone}")).await.status, 204);
    assert_eq!(editor.document("/terms/a").await["replaced_by"], json!(["d"]));
}

#[tokio::test]
async fn only_what_is_in_the_trash_is_purged() {
    let app = glossary().await;
    let admin = Desk::of(&app, Role::Admin).await;
    let live = id(&admin, "/terms/a").await;
    for target in [live.as_str(), "00000000-0000-7000-8000-000000000000", "a", "x%00"] {
        let status = admin.delete(&format!("/trash/{target}")).await.status.as_u16();
        assert!([404, 400].contains(&status), "{target}: {status}");
    }
    assert_eq!(app.get("/terms/a").await.status, 200);
}

/// What has the id is there: only not in the trash.
#[tokio::test]
async fn an_id_that_is_not_in_the_trash_was_told_as_a_missing_slug() {
    let app = glossary().await;
    let admin = Desk::of(&app, Role::Admin).await;
    let refused = admin.delete(&format!("/trash/{}", id(&admin, "/terms/a").await)).await;
    let problem = refused.problem(404, "not_found");
    assert!(problem["detail"].as_str().unwrap().contains("in the trash"), "{problem}");
    assert!(refused.header("termbase-position").ends_with(&format!("-{}", position(&app).await)));
}

// GET /trash

#[tokio::test]
async fn the_trash_lists_all_kinds_in_pages_the_last_first() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.post("/terms", &draft("n")).await.ok();
    for path in ["/terms/a", "/terms/n", "/companies/k", "/categories/e", "/terms/b"] {
        editor.delete(path).await;
    }
    let (mut found, mut next) = (Vec::new(), Some("/trash?limit=2".to_owned()));
    while let Some(address) = next {
        let page = editor.get(&address).await;
        let body = page.ok();
        assert_eq!(body["total"], 5);
        for item in body["items"].as_array().unwrap() {
            assert_eq!((&item["deleted_by"], &item["version"]), (&json!("test editor"), &json!(2)));
            found.push(format!("{} {} {}", item["kind"], item["slug"], item["was_public"]).replace('"', ""));
        }
        next = page.headers.get("link").map(|link| {
            let link = link.to_str().unwrap();
            link.split_once('<').unwrap().1.split_once('>').unwrap().0.to_owned()
        });
        assert_eq!(next.is_none(), body["next_cursor"].is_null());
    }
    assert_eq!(found, ["term b true", "category e true", "company k true", "term n false", "term a true"]);
    editor.restore("/terms/a").await.ok();
    assert_eq!(editor.get("/trash").await.ok()["total"], 4);
}

// Rights

#[tokio::test]
async fn each_deletes_what_he_may_write() {
    let app = glossary().await;
    let (contributor, editor) = (Desk::of(&app, Role::Contributor).await, Desk::of(&app, Role::Editor).await);
    contributor.post("/terms", &draft("n")).await.ok();
    for path in ["/terms/a", "/companies/k", "/categories/e"] {
        contributor.delete(path).await.problem(403, "forbidden");
        editor.delete(path).await;
        contributor.restore(path).await.problem(403, "forbidden");
    }
    assert_eq!(contributor.delete("/terms/n").await.status, 204);
    assert_eq!(contributor.restore("/terms/n").await.ok()["status"], "draft");
}

#[tokio::test]
async fn the_trash_is_for_viewers_and_purging_for_administrators() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let gone = id(&editor, "/terms/a").await;
    editor.delete("/terms/a").await;
    let purge = format!("/trash/{gone}");
    let nobody = Desk::anonymous(&app);
    nobody.get("/trash").await.problem(401, "token_required");
    nobody.delete(&purge).await.problem(401, "token_required");
    assert_eq!(Desk::of(&app, Role::Viewer).await.get("/trash").await.status, 200);
    editor.delete(&purge).await.problem(403, "forbidden");
    assert_eq!(Desk::of(&app, Role::Admin).await.send(Method::DELETE, &purge, None, &[]).await.status, 204);
}
