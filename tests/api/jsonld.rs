//! `/terms/{slug}.jsonld`, and the same by `Accept`.

use reqwest::Method;
use serde_json::{Value, json};
use termbase::{site::SiteSettings, state::HttpSettings, tokens::Role};

use crate::{
    desk::{Desk, glossary},
    support::{Content, TestApp, category, company, http_settings, term},
};

const JSON_LD: (&str, &str) = ("accept", "application/ld+json");

#[tokio::test]
async fn a_term_is_a_defined_term_of_schema_org() {
    let app = TestApp::with_samples().await;
    let answer = app.get("/terms/foundation-model.jsonld").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/ld+json"));
    insta::assert_json_snapshot!(answer.json());
}

#[tokio::test]
async fn accept_chooses_between_the_page_and_json_ld() {
    let app = TestApp::with_samples().await;
    let path = "/terms/foundation-model";
    let (page, own) = (app.get(path).await, app.get(&format!("{path}.jsonld")).await);
    let chosen = app.request(Method::GET, path, &[JSON_LD]).await;
    assert_eq!(chosen.header("content-type"), "application/ld+json");
    assert_eq!((chosen.json(), chosen.header("etag")), (own.json(), own.header("etag")));
    assert_ne!(chosen.header("etag"), page.header("etag"));
    for answer in [&page, &chosen] {
        assert_eq!(answer.header("vary"), "Accept, Accept-Encoding, Authorization, Termbase-After");
    }
    // What is not here is answered by what is (RFC 9110, section 12.5.1).
    let other = app.request(Method::GET, path, &[("accept", "text/html")]).await;
    assert_eq!((other.header("content-type"), other.header("etag")), ("application/json", page.header("etag")));
}

#[tokio::test]
async fn a_tag_of_one_form_is_none_of_the_other() {
    let app = TestApp::with_samples().await;
    let path = "/terms/foundation-model";
    let tag = app.get(path).await.header("etag").to_owned();
    let ask = async |headers: &[(&str, &str)]| app.request(Method::GET, path, headers).await;
    assert_eq!(ask(&[("if-none-match", &tag)]).await.status, 304);
    assert_eq!(ask(&[("if-none-match", &tag), JSON_LD]).await.status, 200);
    let tag = ask(&[JSON_LD]).await.header("etag").to_owned();
    let known = ask(&[("if-none-match", &tag), JSON_LD]).await;
    assert_eq!((known.status.as_u16(), known.header("vary").starts_with("Accept, ")), (304, true));
    assert_eq!(ask(&[("if-none-match", &tag)]).await.status, 200);
}

#[tokio::test]
async fn its_address_leads_where_the_page_s_does() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let id = app.get("/terms/a").await.json()["id"].as_str().unwrap().to_owned();
    editor.patch("/terms/a", &json!({"slug": "z"})).await.ok();
    for former in ["a", &id] {
        let moved = app.get(&format!("/terms/{former}.jsonld")).await;
        assert_eq!((moved.status.as_u16(), moved.header("location")), (308, "/terms/z.jsonld"));
    }
    let moved = app.request(Method::GET, "/terms/a", &[JSON_LD]).await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (308, "/terms/z"));
    app.get("/terms/nothing.jsonld").await.problem(404, "not_found");
    app.get("/terms/.jsonld").await.problem(404, "not_found");
    app.get("/terms/z.jsonld?lang=en").await.problem(400, "bad_request");
    editor.delete("/terms/z").await;
    app.get("/terms/z.jsonld").await.problem(410, "gone");
    let refused = app.request(Method::POST, "/terms/z.jsonld", &[]).await;
    refused.problem(405, "method_not_allowed");
    assert_eq!(refused.header("allow"), "GET, HEAD, OPTIONS");
}

/// What it says of names and links is no more than the page does.
#[tokio::test]
async fn it_shows_what_the_page_shows() {
    let app = TestApp::empty().await;
    let aliases = json!([{"name": "Hidden", "kind": "hidden"}, {"name": "TT", "kind": "acronym"}]);
    let company_named =
        |name: &str, status: &str| company(&json!({"name": name, "status": status, "categories": ["c"]}));
    app.write(vec![
        category(&json!({"name": "C"})),
        company_named("Linked", "published"),
        company_named("Draft", "draft"),
        company_named("Of the category", "published"),
        term(&json!({"name": "T", "definition": "D.", "category": "c", "status": "published", "aliases": aliases, "companies": ["linked", "draft"]})),
    ])
    .await
    .unwrap();
    let graph = app.get("/terms/t.jsonld").await.json()["@graph"].clone();
    assert_eq!(graph[0]["alternateName"], json!(["TT"]));
    let names: Vec<&Value> = graph.as_array().unwrap().iter().skip(1).map(|company| &company["name"]).collect();
    assert_eq!(names, ["Linked"]);
}

#[tokio::test]
async fn nothing_in_it_ends_the_script_that_holds_it() {
    let app = TestApp::empty().await;
    let definition = "Ends </script><!-- here & there.";
    let document =
        json!({"name": "</script>", "definition": definition, "category": "c", "status": "published", "slug": "t"});
    app.write(vec![category(&json!({"name": "C"})), term(&document)]).await.unwrap();
    let answer = app.get("/terms/t.jsonld").await;
    assert!(!answer.bytes.contains(&b'<'), "{}", String::from_utf8_lossy(&answer.bytes));
    assert_eq!(answer.json()["@graph"][0]["description"], definition);
}

#[tokio::test]
async fn without_a_site_a_term_is_named_by_its_id() {
    let http = HttpSettings { site: SiteSettings::default(), ..http_settings() };
    let app = TestApp::start(Content::Samples, http).await;
    let id = app.get("/terms/foundation-model").await.json()["id"].as_str().unwrap().to_owned();
    let graph = app.get("/terms/foundation-model.jsonld").await.json()["@graph"].clone();
    assert_eq!(graph[0]["@id"], format!("urn:uuid:{id}"));
    assert_eq!(graph[0]["inDefinedTermSet"], json!({"@type": "DefinedTermSet", "name": "Glossary"}));
    assert_eq!(graph[1]["knowsAbout"]["@id"], graph[0]["@id"]);
    assert!(graph[0].get("url").is_none(), "{graph}");
}
