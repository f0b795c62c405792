//! The one write: what it takes, what it refuses, what it leaves behind.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Row;
use termbase::{
    editorial::{self, Edit, Kind},
    error::{Error, Fault},
    http::slug::Slug,
    tokens::Role,
};
use uuid::Uuid;

use crate::support::{TestApp, category, category_again, company, company_again, glossary, term, term_again};

fn t(slug: &str) -> Value {
    json!({"slug": slug, "name": slug, "definition": "D.", "category": "c", "status": "published"})
}

fn with(slug: &str, member: &str, value: Value) -> Value {
    let mut document = t(slug);
    document[member] = value;
    document
}

async fn refusal(app: &TestApp, edits: Vec<Edit>) -> (Vec<Fault>, Vec<String>) {
    match app.write(edits).await {
        Err(Error::Refused { faults, conflicts }) => {
            (faults, conflicts.into_iter().map(|conflict| conflict.slug).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn codes(faults: &[Fault]) -> Vec<(&str, &str)> {
    faults.iter().map(|fault| (fault.pointer.as_deref().unwrap(), fault.code.as_str())).collect()
}

/// Everything that a change of these entities leaves, as text, to compare before and after.
async fn rows(app: &TestApp) -> String {
    let tables = [
        "categories",
        "terms",
        "companies",
        "term_aliases",
        "term_relations",
        "term_sources",
        "term_companies",
        "company_categories",
        "slug_history",
        "revisions",
        "changes",
        "log_head",
    ];
    let mut all = String::new();
    for table in tables {
        let statement = format!("select coalesce(string_agg(r::text, '\n' order by r::text), '') from {table} r");
        all += &sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(statement)).fetch_one(app.pool()).await.unwrap();
    }
    all
}

#[tokio::test]
async fn documents_of_one_write_may_refer_to_each_other() {
    let app = TestApp::empty().await;
    let mut edits = vec![
        term(&with("a", "related", json!(["b"]))),
        term(&with("b", "companies", json!(["k"]))),
        company(&json!({"name": "K", "status": "published", "categories": ["c"]})),
        category(&json!({"name": "C", "parent": "p"})),
        category(&json!({"name": "P"})),
    ];
    edits.push(term(&with("d", "broader", json!(["a", "b"]))));
    let applied = app.write(edits).await.unwrap();
    assert_eq!(applied.iter().map(|applied| applied.slug.as_str()).collect::<Vec<_>>(), ["a", "b", "k", "c", "p", "d"]);
    assert!(applied.iter().all(|applied| applied.version == 1 && applied.changed));
    assert_eq!(app.get("/terms/d").await.json()["broader"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_write_that_changes_nothing_makes_no_version() {
    let app = TestApp::with_samples().await;
    let before = rows(&app).await;
    let ids: Vec<(Uuid, String)> = sqlx::query("select id, slug from terms")
        .fetch_all(app.pool())
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    // The glossary again, each for its own entity: references are slugs, stored ones are ids.
    let mut again = Vec::new();
    for edit in glossary() {
        if let Edit::Term(_, document) = edit {
            let id =
                ids.iter().find(|(_, slug)| Some(slug.as_str()) == document.slug.as_ref().map(Slug::as_str)).unwrap().0;
            again.push(Edit::Term(editorial::Target::Existing(id), document));
        }
    }
    let count = again.len();
    let applied = app.write(again).await.unwrap();
    assert_eq!((applied.len(), applied.iter().filter(|applied| applied.changed).count()), (count, 0));
    assert_eq!(rows(&app).await, before);
}

#[tokio::test]
async fn one_edit_is_one_version_one_revision_and_one_change() {
    let app = TestApp::empty().await;
    let applied = app.write(vec![category(&json!({"name": "C"})), term(&t("a"))]).await.unwrap();
    for (version, definition) in [(2, "Two."), (3, "Three.")] {
        let applied =
            app.write(vec![term_again(applied[1].id, &with("a", "definition", json!(definition)))]).await.unwrap();
        assert_eq!(applied[0].version, version);
    }
    let revisions: Vec<(i64, Value, String)> =
        sqlx::query_as("select version, document, author from revisions where kind = 'term' order by version")
            .fetch_all(app.pool())
            .await
            .unwrap();
    assert_eq!(revisions.iter().map(|revision| revision.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(revisions[1].1["definition"], "Two.");
    assert_eq!(revisions[1].1["category"], "c", "a revision names others by their slugs");
    assert_eq!(revisions[1].2, "tests");
    let positions: Vec<(i64, String)> =
        sqlx::query_as("select position, what from changes order by position").fetch_all(app.pool()).await.unwrap();
    assert_eq!(positions, [(1, "created".into()), (2, "created".into()), (3, "updated".into()), (4, "updated".into())]);
    let page = app.get("/terms/a").await.json();
    assert_eq!((page["version"].as_i64(), page["definition"].as_str()), (Some(3), Some("Three.")));
}

/// A neighbour's rename changes how a document is spelt, and not what it says.
#[tokio::test]
async fn references_are_compared_by_entity() {
    let app = TestApp::empty().await;
    let applied = app
        .write(vec![category(&json!({"name": "C"})), term(&t("a")), term(&with("b", "related", json!(["a"])))])
        .await
        .unwrap();
    let (a, b) = (applied[1].id, applied[2].id);
    let mut renamed = t("a2");
    renamed["name"] = json!("a");
    app.write(vec![term_again(a, &renamed)]).await.unwrap();
    for spelling in ["a", "a2", &a.to_string()] {
        let applied = app.write(vec![term_again(b, &with("b", "related", json!([spelling])))]).await.unwrap();
        assert!(!applied[0].changed, "{spelling}");
    }
    assert_eq!(app.get("/terms/b").await.json()["related"][0]["slug"], "a2");
}

#[tokio::test]
async fn every_fault_of_every_document_is_told_at_once_and_nothing_is_written() {
    let app = TestApp::with_samples().await;
    let before = rows(&app).await;
    let (faults, conflicts) = refusal(
        &app,
        vec![
            term(&json!({"name": "foundation   MODEL", "definition": "D.", "category": "core-concept", "related": ["transformr", "transformer"]})),
            term(&json!({"name": "New", "slug": "transformer", "definition": "D.", "category": "training", "companies": ["nobody-knows"]})),
            category(&json!({"name": "training", "slug": "training-2"})),
            term(&json!({"name": "Fine", "definition": "D.", "category": "training"})),
        ],
    )
    .await;
    assert_eq!(
        codes(&faults),
        [
            ("/0/name", "name_taken"),
            ("/0/category", "unknown_reference"),
            ("/0/related/0", "unknown_reference"),
            ("/1/slug", "slug_taken"),
            ("/1/companies/0", "unknown_reference"),
            ("/2/name", "name_taken")
        ]
    );
    assert!(faults[1].detail.contains("core-concepts") && faults[2].detail.contains("transformer"), "{faults:?}");
    let mut conflicts = conflicts;
    conflicts.sort();
    assert_eq!(conflicts, ["foundation-model", "training", "transformer"]);
    assert_eq!(rows(&app).await, before);
}

#[tokio::test]
async fn a_slug_belongs_to_one_entity_for_good() {
    let app = TestApp::empty().await;
    let applied = app.write(vec![category(&json!({"name": "C"})), term(&t("a")), term(&t("b"))]).await.unwrap();
    let mut renamed = t("a2");
    renamed["name"] = json!("a");
    app.write(vec![term_again(applied[1].id, &renamed)]).await.unwrap();
    let mut thief = t("a");
    thief["name"] = json!("thief");
    let (faults, conflicts) = refusal(&app, vec![term(&thief)]).await;
    assert_eq!((codes(&faults), conflicts), (vec![("/slug", "slug_taken")], vec!["a".into()]));
    // A company may have it: slugs are one kind's.
    app.write(vec![company(&json!({"name": "a", "status": "published"}))]).await.unwrap();
    // The entity itself may take it back.
    app.write(vec![term_again(applied[1].id, &t("a"))]).await.unwrap();
    assert_eq!(app.get("/terms/a2").await.header("location"), "/terms/a");
}

#[tokio::test]
async fn a_slug_is_made_from_the_name_and_numbered() {
    let app = TestApp::empty().await;
    let named = |name: &str| json!({"name": name, "definition": "D.", "category": "c", "status": "published"});
    let names = [
        "C++",
        "C#",
        "C",
        "Crème brûlée",
        "creme brulee model",
        "深度学习",
        "%",
        "🎉",
        "Ünïcode — test",
        "A/B testing",
    ];
    let mut edits = vec![category(&json!({"name": "C"}))];
    edits.extend(names.iter().map(|name| term(&named(name))));
    edits.extend((0..3).map(|_| company(&json!({"name": "Same", "status": "published"}))));
    let applied = app.write(edits).await.unwrap();
    let slugs: Vec<&str> = applied.iter().map(|applied| applied.slug.as_str()).collect();
    assert_eq!(slugs[1..4], ["c-plus-plus", "c-sharp", "c"]);
    assert_eq!(slugs[11..], ["same", "same-2", "same-3"]);
    for (name, slug) in names.iter().zip(&slugs[1..]) {
        assert_eq!(app.get(&format!("/terms/{slug}")).await.json()["name"], *name);
    }
    let again = app.write(vec![company(&json!({"name": "Same"}))]).await.unwrap();
    assert_eq!(again[0].slug.as_str(), "same-4");
}

#[tokio::test]
async fn what_was_public_never_goes_back_to_draft() {
    let app = TestApp::empty().await;
    let applied = app
        .write(vec![
            category(&json!({"name": "C"})),
            term(&t("a")),
            company(&json!({"name": "K", "status": "published"})),
        ])
        .await
        .unwrap();
    let (faults, conflicts) =
        refusal(&app, vec![term_again(applied[1].id, &with("a", "status", json!("draft")))]).await;
    assert_eq!((codes(&faults), conflicts), (vec![("/status", "already_public")], vec!["a".into()]));
    let (faults, _) = refusal(&app, vec![company_again(applied[2].id, &json!({"name": "K"}))]).await;
    assert_eq!(codes(&faults), [("/status", "already_public")]);
    let deprecated = json!({"slug": "a", "name": "a", "definition": "D.", "category": "c", "status": "deprecated", "replaced_by": ["b"]});
    app.write(vec![term_again(applied[1].id, &deprecated), term(&t("b"))]).await.unwrap();
    let published_at = app.get("/terms/a").await.json()["published_at"].clone();
    app.write(vec![term_again(applied[1].id, &t("a"))]).await.unwrap();
    assert_eq!(app.get("/terms/a").await.json()["published_at"], published_at);
}

#[tokio::test]
async fn relations_that_lead_back_are_refused_where_they_stand() {
    let app = TestApp::empty().await;
    let applied = app
        .write(vec![
            category(&json!({"name": "C"})),
            term(&t("a")),
            term(&with("b", "broader", json!(["a"]))),
            term(&with("d", "broader", json!(["b"]))),
        ])
        .await
        .unwrap();
    let (faults, _) = refusal(&app, vec![term_again(applied[1].id, &with("a", "broader", json!(["d"])))]).await;
    assert_eq!(codes(&faults), [("/broader", "cycle")]);
    let (faults, _) = refusal(
        &app,
        vec![
            term(&t("x")),
            term(&with("y", "replaced_by", json!(["z"]))),
            term(&with("z", "replaced_by", json!(["y"]))),
        ],
    )
    .await;
    assert_eq!((faults.len(), faults[0].code.as_str()), (1, "cycle"));
    assert!(["/1/replaced_by", "/2/replaced_by"].contains(&faults[0].pointer.as_deref().unwrap()));
    let (faults, _) = refusal(&app, vec![term_again(applied[1].id, &with("a", "related", json!(["a"])))]).await;
    assert_eq!(codes(&faults), [("/related", "itself")]);
    let (faults, _) = refusal(&app, vec![category_again(applied[0].id, &json!({"name": "C", "parent": "c"}))]).await;
    assert_eq!(codes(&faults), [("/parent", "itself")]);
    app.write(vec![category(&json!({"name": "E", "parent": "c"}))]).await.unwrap();
    let (faults, _) = refusal(&app, vec![category_again(applied[0].id, &json!({"name": "C", "parent": "e"}))]).await;
    assert_eq!(codes(&faults), [("/parent", "cycle")]);
}

/// A change names what it touches, and a read what it was made from: a page that a write changes has one of its keys.
#[tokio::test]
async fn every_answer_that_a_write_changes_has_a_key_that_the_write_touches() {
    let app = TestApp::empty().await;
    let mut b = with("b", "related", json!(["a"]));
    b["companies"] = json!(["k"]);
    let k = |name: &str, status: &str| json!({"slug": "k", "name": name, "status": status, "categories": ["c"]});
    let applied = app
        .write(vec![
            category(&json!({"name": "P"})),
            category(&json!({"name": "C", "parent": "p"})),
            category(&json!({"name": "Q"})),
            term(&t("a")),
            term(&b),
            term(&with("d", "status", json!("draft"))),
            term(&with("e", "broader", json!(["a", "d"]))),
            company(&k("K", "draft")),
            company(&json!({"name": "L", "status": "published"})),
        ])
        .await
        .unwrap();
    let id = |index: usize| applied[index].id;
    let mut acronym = t("a");
    acronym["aliases"] = json!([{"name": "AAA", "kind": "acronym"}]);
    let mut moved = t("a");
    moved["category"] = json!("q");
    let mut renamed = moved.clone();
    renamed["slug"] = json!("a-new");
    let mut deprecated = renamed.clone();
    deprecated["status"] = json!("deprecated");
    deprecated["replaced_by"] = json!(["b"]);
    let writes = vec![
        ("body", term_again(id(3), &with("a", "body", json!("New.")))),
        ("name", term_again(id(3), &with("a", "name", json!("aaa")))),
        ("definition", term_again(id(3), &with("a", "definition", json!("Other.")))),
        ("acronym", term_again(id(3), &acronym)),
        ("source", term_again(id(3), &with("a", "sources", json!([{"title": "S", "url": "https://x.example"}])))),
        ("moved", term_again(id(3), &moved)),
        ("slug", term_again(id(3), &renamed)),
        ("published", term_again(id(5), &t("d"))),
        ("company published", company_again(id(7), &k("K", "published"))),
        ("company renamed", company_again(id(7), &k("KK", "published"))),
        ("link added", term_again(id(6), &with("e", "companies", json!(["k", "l"])))),
        ("relation removed", term_again(id(6), &t("e"))),
        ("category renamed", category_again(id(1), &json!({"slug": "c", "name": "Sea", "parent": "p"}))),
        ("category moved", category_again(id(1), &json!({"slug": "c", "name": "Sea", "parent": "q"}))),
        ("deprecated", term_again(id(3), &deprecated)),
        ("new term", term(&with("n", "related", json!(["b"])))),
        ("new category", category(&json!({"name": "N", "parent": "q"}))),
        ("new company", company(&json!({"name": "M", "status": "published", "categories": ["q"]}))),
        ("draft only", term(&json!({"name": "hidden", "definition": "D.", "category": "c", "related": ["b"]}))),
    ];
    let mut paths: Vec<String> =
        ["a", "a-new", "b", "d", "e", "n"].iter().map(|slug| format!("/terms/{slug}")).collect();
    paths.extend(
        [
            "/terms",
            "/terms?category=c",
            "/terms?category=p",
            "/terms?category=q",
            "/companies",
            "/companies?category=c",
            "/companies?category=q",
            "/companies?term=b",
            "/companies?term=e",
            "/categories",
            "/categories/c",
            "/categories/p",
            "/categories/q",
            "/categories/n",
            "/companies/k",
            "/companies/l",
        ]
        .map(ToOwned::to_owned),
    );
    for (name, edit) in writes {
        let mut before = Vec::new();
        for path in &paths {
            before.push(app.get(path).await);
        }
        app.write(vec![edit]).await.unwrap();
        let touched: Vec<String> = sqlx::query_scalar("select keys from changes order by position desc limit 1")
            .fetch_one(app.pool())
            .await
            .unwrap();
        if name == "draft only" {
            assert!(touched.is_empty(), "{touched:?}");
        }
        for (path, before) in paths.iter().zip(before) {
            let after = app.get(path).await;
            if after.status == before.status && (after.bytes == before.bytes || after.status == 404) {
                continue;
            }
            if before.status == 400 {
                continue;
            }
            assert!(
                before.keys().iter().any(|key| touched.contains(key)),
                "{name} changed {path}, made from {:?}, but touched {touched:?}",
                before.keys()
            );
        }
    }
}

/// Many writers of the same few rows: each success is one version, positions have no gap, nobody gets a 5xx.
#[tokio::test]
async fn concurrent_writers_stand_in_a_row() {
    let app = TestApp::empty().await;
    let applied = app.write(vec![category(&json!({"name": "C"})), term(&t("a")), term(&t("b"))]).await.unwrap();
    let (a, b) = (applied[1].id, applied[2].id);
    let writers = (0..20).map(|number| {
        // In both orders: the write sorts its locks.
        let pair = [
            term_again(a, &with("a", "definition", json!(format!("A{number}.")))),
            term_again(b, &with("b", "definition", json!(format!("B{number}.")))),
        ];
        app.write(if number % 2 == 0 { pair.into() } else { pair.into_iter().rev().collect() })
    });
    for result in futures_util::future::join_all(writers).await {
        result.unwrap();
    }
    let (count, highest): (i64, i64) =
        sqlx::query_as("select count(*), max(position) from changes").fetch_one(app.pool()).await.unwrap();
    assert_eq!((count, highest), (43, 43));
    assert_eq!(app.get("/terms/a").await.json()["version"], 21);
}

#[tokio::test]
async fn two_who_take_one_name_at_once_get_one_entity_and_one_conflict() {
    let app = TestApp::empty().await;
    app.write(vec![category(&json!({"name": "C"}))]).await.unwrap();
    for round in 0..5 {
        let document = json!({"name": format!("Same {round}"), "definition": "D.", "category": "c"});
        let (first, second) = tokio::join!(app.write(vec![term(&document)]), app.write(vec![term(&document)]));
        let mut results = [first, second];
        results.sort_by_key(Result::is_err);
        let [won, lost] = results;
        assert!(won.is_ok());
        match lost {
            Err(Error::Refused { faults, .. }) => assert_eq!(faults[0].code, "name_taken", "{faults:?}"),
            other => panic!("{other:?}"),
        }
    }
}

/// What a page was made from before the write, and what the write touched.
async fn stale_check(app: &TestApp, paths: &[&str], edits: Vec<Edit>) {
    let mut before = Vec::new();
    for path in paths {
        before.push(app.get(path).await);
    }
    let position: i64 =
        sqlx::query_scalar("select coalesce(max(position), 0) from changes").fetch_one(app.pool()).await.unwrap();
    app.write(edits).await.unwrap();
    let touched: Vec<String> = sqlx::query_scalar("select unnest(keys) from changes where position > $1")
        .bind(position)
        .fetch_all(app.pool())
        .await
        .unwrap();
    let mut changed = 0;
    for (path, before) in paths.iter().zip(before) {
        let after = app.get(path).await;
        if after.status != before.status || after.bytes != before.bytes {
            changed += 1;
            assert!(before.keys().iter().any(|key| touched.contains(key)), "{path}: {:?}, {touched:?}", before.keys());
        }
    }
    assert!(changed > 0, "the write was to change something that is looked at");
}

#[tokio::test]
async fn a_link_that_changes_its_kind_touches_the_other_end() {
    let app = TestApp::empty().await;
    let applied = app
        .write(vec![category(&json!({"name": "C"})), term(&with("a", "related", json!(["b"]))), term(&t("b"))])
        .await
        .unwrap();
    stale_check(&app, &["/terms/b"], vec![term_again(applied[1].id, &with("a", "broader", json!(["b"])))]).await;
}

#[tokio::test]
async fn a_company_that_another_name_brings_onto_a_page_touches_it() {
    let app = TestApp::empty().await;
    let names: Vec<String> = (0..13).map(|number| format!("k{number:02}")).collect();
    let mut edits = vec![category(&json!({"name": "C"})), term(&with("a", "companies", json!(names)))];
    edits.extend(names.iter().map(|name| company(&json!({"name": name, "status": "published"}))));
    let applied = app.write(edits).await.unwrap();
    let renamed = json!({"slug": "k12", "name": "AAA", "status": "published"});
    stale_check(&app, &["/terms/a", "/companies?term=a&limit=1"], vec![company_again(applied[14].id, &renamed)]).await;
}

#[tokio::test]
async fn an_address_by_id_is_touched_when_its_entity_is_published() {
    let app = TestApp::empty().await;
    let applied = app
        .write(vec![
            category(&json!({"name": "C"})),
            term(&with("a", "status", json!("draft"))),
            company(&json!({"name": "K"})),
        ])
        .await
        .unwrap();
    let paths = [format!("/terms/{}", applied[1].id), format!("/companies/{}", applied[2].id)];
    let published = json!({"name": "K", "status": "published"});
    let edits = vec![term_again(applied[1].id, &t("a")), company_again(applied[2].id, &published)];
    stale_check(&app, &[&paths[0], &paths[1]], edits).await;
}

#[tokio::test]
async fn lists_of_what_is_deleted_are_touched() {
    let app = TestApp::empty().await;
    let k = json!({"name": "K", "status": "published", "categories": ["d"]});
    let applied = app.write(vec![category(&json!({"name": "D"})), company(&k)]).await.unwrap();
    let of_category = ["/terms?category=d", "/companies?category=d"];
    stale_check(&app, &of_category, vec![Edit::Delete(Kind::Category, applied[0].id)]).await;
    stale_check(&app, &["/terms?company=k"], vec![Edit::Delete(Kind::Company, applied[1].id)]).await;
}

#[tokio::test]
async fn two_entities_may_swap_their_names_in_one_write() {
    let app = TestApp::empty().await;
    let applied = app
        .write(vec![category(&json!({"name": "C"})), category(&json!({"name": "D"})), term(&t("a")), term(&t("b"))])
        .await
        .unwrap();
    let named = |slug: &str, name: &str| with(slug, "name", json!(name));
    app.write(vec![
        term_again(applied[2].id, &named("a", "b")),
        term_again(applied[3].id, &named("b", "a")),
        category_again(applied[0].id, &json!({"slug": "c", "name": "D"})),
        category_again(applied[1].id, &json!({"slug": "d", "name": "C"})),
    ])
    .await
    .unwrap();
    assert_eq!(app.get("/terms/a").await.json()["name"], "b");
    // A name that is given up is free for a new document that stands before.
    app.write(vec![term(&named("n", "b")), term_again(applied[2].id, &named("a", "z"))]).await.unwrap();
    assert_eq!(app.get("/terms/n").await.json()["name"], "b");
}

#[tokio::test]
async fn a_write_may_apply_again_what_it_has_renamed() {
    let app = TestApp::empty().await;
    let applied = app.write(vec![category(&json!({"name": "C"})), term(&t("a"))]).await.unwrap();
    let id = applied[1].id;
    let mut write =
        editorial::Write::open(&app.state, &termbase::tokens::Author::program("tests"), None).await.unwrap();
    let renamed = with("a2", "name", json!("a"));
    write.apply(vec![term_again(id, &renamed)]).await.unwrap();
    let mut unnamed = with("a", "definition", json!("Other."));
    unnamed["slug"] = json!(null);
    let again = write.apply(vec![term_again(id, &unnamed)]).await.unwrap();
    assert_eq!(again[0].slug.as_str(), "a2");
    write.close().await.unwrap();
    let (_, document): (i64, Value) =
        sqlx::query_as("select version, document from revisions where entity = $1 order by version desc limit 1")
            .bind(id)
            .fetch_one(app.pool())
            .await
            .unwrap();
    assert_eq!((document["slug"].as_str(), app.get("/terms/a2").await.status.as_u16()), (Some("a2"), 200));
}

#[tokio::test]
async fn a_tree_of_categories_has_twenty_levels_at_most() {
    let app = TestApp::empty().await;
    let chain = |length: usize| -> Vec<Edit> {
        let document = |level: usize| json!({"name": format!("L{level}"), "parent": (level > 1).then(|| format!("l{}", level - 1))});
        (1..=length).rev().map(|level| category(&document(level))).collect()
    };
    let (faults, _) = refusal(&app, chain(21)).await;
    assert_eq!((faults.len(), faults[0].code.as_str()), (1, "too_deep"));
    let applied = app.write(chain(20)).await.unwrap();
    let (faults, _) = refusal(&app, vec![category(&json!({"name": "Below", "parent": "l20"}))]).await;
    assert_eq!(codes(&faults), [("/parent", "too_deep")]);
    // A subtree may not be moved to where it would be too deep, either.
    app.write(vec![category(&json!({"name": "Other"})), category(&json!({"name": "Under", "parent": "other"}))])
        .await
        .unwrap();
    let top = applied.last().unwrap().id;
    let (faults, _) = refusal(&app, vec![category_again(top, &json!({"name": "L1", "parent": "other"}))]).await;
    assert_eq!(codes(&faults), [("/parent", "too_deep")]);
}

#[tokio::test]
async fn one_entity_is_written_once_a_time() {
    let app = TestApp::empty().await;
    let applied = app.write(vec![category(&json!({"name": "C"})), term(&t("a"))]).await.unwrap();
    let again = || term_again(applied[1].id, &with("a", "definition", json!("Other.")));
    let (faults, _) = refusal(&app, vec![again(), again()]).await;
    assert_eq!(codes(&faults), [("/1", "duplicate")]);
}

/// Another's write may take a link out of what is in the trash, which deletes it no second time.
#[tokio::test]
async fn the_trash_names_who_deleted_something_that_was_written_there() {
    let app = TestApp::empty().await;
    let applied = app
        .write(vec![category(&json!({"name": "C"})), term(&with("a", "related", json!(["b"]))), term(&t("b"))])
        .await
        .unwrap();
    let (editor, admin) = (app.token(Role::Editor).await, app.token(Role::Admin).await);
    for slug in ["b", "a"] {
        let deleted = app.send(Method::DELETE, &format!("/terms/{slug}"), Some(&editor), None, &[]).await;
        assert_eq!(deleted.status, 204);
    }
    let purge = format!("/trash/{}", applied[2].id);
    assert_eq!(app.send(Method::DELETE, &purge, Some(&admin), None, &[]).await.status, 204);
    let trash = app.send(Method::GET, "/trash", Some(&admin), None, &[]).await.json();
    assert_eq!((&trash["items"][0]["deleted_by"], &trash["items"][0]["version"]), (&json!("test editor"), &json!(2)));
}

/// The pair goes from both documents, but only who wrote a link has something to give up.
#[tokio::test]
async fn a_contributor_may_remove_his_own_link_to_what_is_public() {
    let app = TestApp::empty().await;
    let mut draft = with("a", "related", json!(["b"]));
    draft["status"] = json!("draft");
    app.write(vec![category(&json!({"name": "C"})), term(&draft), term(&t("b"))]).await.unwrap();
    let contributor = app.token(Role::Contributor).await;
    let pair = async |method| app.send(method, "/terms/a/related/b", Some(&contributor), None, &[]).await.status;
    assert_eq!(pair(Method::DELETE).await, 200);
    assert_eq!(pair(Method::PUT).await, 200);
    // What the editors wrote at the other end is theirs.
    let editor = app.token(Role::Editor).await;
    assert_eq!(app.send(Method::PUT, "/terms/b/related/a", Some(&editor), None, &[]).await.status, 200);
    assert_eq!(pair(Method::DELETE).await, 403);
}
