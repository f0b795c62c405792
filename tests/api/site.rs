//! `/sitemap.xml`, its parts, and `/feed.atom`.

use serde_json::json;
use termbase::{
    site::{SiteSettings, TermUrl},
    state::HttpSettings,
    tokens::Role,
};

use crate::{
    desk::Desk,
    support::{Answer, Content, TestApp, category, http_settings, term},
};

/// What stands in the elements of this name, as it is written.
fn texts(answer: &Answer, element: &str) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = String::from_utf8(answer.bytes.clone()).unwrap();
    let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
    text.split(&begin).skip(1).map(|part| part.split_once(&end).unwrap().0.to_owned()).collect()
}

/// Of a small glossary: published, deprecated, a draft, and one that is deleted.
async fn glossary() -> TestApp {
    let app = TestApp::empty().await;
    let document = |name: &str, status: &str| json!({"name": name, "definition": format!("What {name} is."), "category": "c", "status": status});
    let mut old = document("Old", "deprecated");
    old["replaced_by"] = json!(["b"]);
    app.write(vec![
        category(&json!({"name": "C"})),
        term(&document("B", "published")),
        term(&document("A", "published")),
        term(&old),
        term(&document("Draft", "draft")),
        term(&document("Gone", "published")),
    ])
    .await
    .unwrap();
    Desk::of(&app, Role::Editor).await.delete("/terms/gone").await;
    app
}

// The sitemap

#[tokio::test]
async fn the_sitemap_has_every_public_page_with_its_last_change() {
    let app = glossary().await;
    let answer = app.get("/sitemap.xml").await;
    assert_eq!((answer.header("content-type"), answer.keys()), ("application/xml", vec!["terms/updated".into()]));
    let pages = ["b", "a", "old"].map(|slug| format!("https://example.org/glossary/{slug}"));
    assert_eq!(texts(&answer, "loc"), pages);
    let mut dates = Vec::new();
    for slug in ["b", "a", "old"] {
        dates.push(app.get(&format!("/terms/{slug}")).await.json()["updated_at"].as_str().unwrap().to_owned());
    }
    assert_eq!(texts(&answer, "lastmod"), dates);
}

#[tokio::test]
async fn a_rename_moves_the_page_in_the_sitemap() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a", &json!({"slug": "z"})).await.ok();
    assert_eq!(texts(&app.get("/sitemap.xml").await, "loc")[1], "https://example.org/glossary/z");
}

#[tokio::test]
async fn an_address_is_written_as_xml_wants_it() {
    let term_url = TermUrl::parse("https://example.org/?lang=en&term={slug}");
    let http = HttpSettings { site: SiteSettings { term_url, name: "Words & <more>".into() }, ..http_settings() };
    let app = TestApp::start(Content::Samples, http).await;
    let first = &texts(&app.get("/sitemap.xml").await, "loc")[0];
    assert!(first.starts_with("https://example.org/?lang=en&amp;term="), "{first}");
    assert_eq!(texts(&app.get("/feed.atom").await, "title")[0], "Words &amp; &lt;more&gt;");
}

/// More terms than a file takes, past the one write: by it they would take a minute.
async fn fill(app: &TestApp, count: i32) {
    app.write(vec![category(&json!({"name": "C"}))]).await.unwrap();
    let sql = format!(
        "begin; select set_config('termbase.write', pg_current_xact_id()::text, true);
         create temp table made on commit drop as
             select n, lpad(to_hex(n), 8, '0')::text || '-0000-7000-8000-000000000000' as id from generate_series(1, {count}) n;
         insert into slug_history (kind, slug, entity, public) select 'term', 't-' || n, id::uuid, true from made;
         insert into revisions (id, entity, version, document, author, message, at, kind, what)
             select id::uuid, id::uuid, 1, '{{}}', 'a', null, now(), 'term', 'created' from made;
         insert into terms (id, slug, name, name_key, definition, body, body_html, body_renderer, category_id, status,
                            published_at, version, revision_id, created_at, updated_at)
             select id::uuid, 't-' || n, 'T ' || n, 't ' || n, 'D.', '', '', 1, (select id from categories), 'published',
                    now(), 1, id::uuid, now(), timestamptz '2026-01-01 00:00Z' + n * interval '1 s' from made;
         commit"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(app.pool()).await.unwrap();
}

#[tokio::test]
async fn a_large_glossary_has_an_index_of_parts_that_hold_each_page_once() {
    let app = TestApp::empty().await;
    fill(&app, 10_001).await;
    let index = app.get("/sitemap.xml").await;
    let parts = texts(&index, "loc");
    assert_eq!(
        parts,
        ["00000001", "00002711"].map(|id| format!("https://example.org/sitemaps/{id}-0000-7000-8000-000000000000.xml"))
    );
    assert_eq!(texts(&index, "lastmod"), ["2026-01-01T02:46:40.000000Z", "2026-01-01T02:46:41.000000Z"]);
    let mut pages = Vec::new();
    for part in parts {
        pages.extend(texts(&app.get(part.strip_prefix("https://example.org").unwrap()).await, "loc"));
    }
    let expected: Vec<String> = (1..=10_001).map(|n| format!("https://example.org/glossary/t-{n}")).collect();
    assert_eq!(pages, expected);
}

#[tokio::test]
async fn a_part_that_is_none_is_not_found() {
    let app = glossary().await;
    for first in ["1", "FFFFFFFF-ffff-ffff-ffff-ffffffffffff", "ffffffff-ffff-ffff-ffff-ffffffffffff", ""] {
        app.get(&format!("/sitemaps/{first}.xml")).await.problem(404, "not_found");
    }
    app.get("/sitemap.xml?page=2").await.problem(400, "bad_request");
}

#[tokio::test]
async fn without_a_site_there_is_neither_sitemap_nor_feed() {
    let app = TestApp::start(Content::Samples, HttpSettings { site: SiteSettings::default(), ..http_settings() }).await;
    for path in ["/sitemap.xml", "/sitemaps/00000000-0000-0000-0000-000000000000.xml", "/feed.atom"] {
        let problem = app.get(path).await.problem(404, "no_site");
        assert!(problem["detail"].as_str().unwrap().contains("TERMBASE_SITE_TERM_URL"), "{problem}");
    }
}

// The feed

#[tokio::test]
async fn the_feed_has_what_was_published_and_changed_last() {
    let app = glossary().await;
    let answer = app.get("/feed.atom").await;
    assert_eq!(answer.header("content-type"), "application/atom+xml");
    // Of one moment: that which was made last comes first.
    assert_eq!(texts(&answer, "title"), ["Glossary", "A", "B"]);
    let page = Desk::of(&app, Role::Editor).await.patch("/terms/b", &json!({"definition": "Newer."})).await.ok();
    let answer = app.get("/feed.atom").await;
    assert_eq!(texts(&answer, "title"), ["Glossary", "B", "A"]);
    assert_eq!(texts(&answer, "summary"), ["Newer.", "What A is."]);
    let updated = page["updated_at"].as_str().unwrap();
    assert_eq!(texts(&answer, "updated")[..2], [updated, updated]);
    assert_eq!(texts(&answer, "published")[0], page["published_at"].as_str().unwrap());
}

#[tokio::test]
async fn an_entry_keeps_its_id_through_a_rename() {
    let app = glossary().await;
    let before = texts(&app.get("/feed.atom").await, "id");
    let id = app.get("/terms/a").await.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(before[..2], ["https://example.org/feed.atom".to_owned(), format!("urn:uuid:{id}")]);
    Desk::of(&app, Role::Editor).await.patch("/terms/a", &json!({"slug": "z"})).await.ok();
    let after = app.get("/feed.atom").await;
    assert_eq!(texts(&after, "id"), before);
    assert!(String::from_utf8(after.bytes).unwrap().contains("href=\"https://example.org/glossary/z\""));
}

#[tokio::test]
async fn the_feed_ends_after_fifty_entries() {
    let app = TestApp::empty().await;
    fill(&app, 60).await;
    let titles = texts(&app.get("/feed.atom").await, "title");
    assert_eq!((titles.len(), titles[1].as_str(), titles[50].as_str()), (51, "T 60", "T 11"));
}

#[tokio::test]
async fn a_feed_of_nothing_is_a_feed() {
    let app = TestApp::empty().await;
    let answer = app.get("/feed.atom").await;
    assert_eq!(texts(&answer, "updated"), ["1970-01-01T00:00:00Z"]);
    assert_eq!(texts(&app.get("/sitemap.xml").await, "loc"), [""; 0]);
}

/// JSON has characters that XML has no way to write.
#[tokio::test]
async fn a_name_that_xml_can_not_hold_breaks_no_feed() {
    let app = TestApp::empty().await;
    app.write(vec![
        category(&json!({"slug": "c", "name": "\"C\" & \u{ffff}"})),
        term(&json!({"slug": "t", "name": "T<\u{fffe}>&", "definition": "]]>\u{fffe}", "category": "c", "status": "published"})),
    ])
    .await
    .unwrap();
    let answer = app.get("/feed.atom").await;
    assert_eq!(texts(&answer, "title")[1], "T&lt;\u{fffd}&gt;&amp;");
    assert_eq!(texts(&answer, "summary"), ["]]&gt;\u{fffd}"]);
    let text = String::from_utf8(answer.bytes).unwrap();
    assert!(text.contains("label=\"&quot;C&quot; &amp; \u{fffd}\""), "{text}");
}
