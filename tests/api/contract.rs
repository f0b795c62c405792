//! What holds the architecture: the description tells the truth, and nothing that a client sends is our fault.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use reqwest::Method;
use serde_json::{Value, json};
use termbase::{app, editorial::document::Choice, openapi, tokens::Role};

use crate::support::{TestApp, category, company, term};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a committed file with what it should be; `UPDATE=1` rewrites it.
pub fn assert_committed(path: &Path, now: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, now).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == now,
        "{} is not what the code says; run `UPDATE=1 cargo test contract` twice, and look at the difference",
        path.display()
    );
}

fn description() -> Value {
    serde_json::to_value(app::describe()).unwrap()
}

/// Every operation: its path, its method, itself.
fn operations(description: &Value) -> Vec<(String, Method, Value)> {
    let paths = description["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| -> Vec<(String, Method, Value)> {
        let methods = item.as_object().unwrap().iter();
        methods
            .map(|(method, operation)| (path.clone(), method.to_uppercase().parse().unwrap(), operation.clone()))
            .collect()
    };
    paths.iter().flat_map(of_path).collect()
}

/// The operation's address with the examples of its path parameters, and of the query's that it can't do without.
fn address(path: &str, operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let example = |parameter: &Value| match &parameter["example"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let path =
        parameters.iter().filter(|parameter| parameter["in"] == "path").fold(path.to_owned(), |path, parameter| {
            path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), &example(parameter))
        });
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for parameter in parameters.iter().filter(|one| one["in"] == "query" && one["required"] == json!(true)) {
        query.append_pair(parameter["name"].as_str().unwrap(), &example(parameter));
    }
    // The first of several pages, where there are pages: it has the address of the next.
    if parameters.iter().any(|one| one["name"] == "limit") {
        query.append_pair("limit", "1");
    }
    match query.finish() {
        query if query.is_empty() => path,
        query => format!("{path}?{query}"),
    }
}

/// The glossary of the tests after an hour of editing, so that there is a history, and something in the trash.
async fn edited_samples() -> TestApp {
    let app = TestApp::with_samples().await;
    let token = app.token(Role::Editor).await;
    for (path, change) in [
        (
            "/terms/foundation-model?message=Say+it+in+one+sentence",
            json!({"definition": "A model trained on broad data that can be adapted to many tasks.", "reviewed_on": null}),
        ),
        ("/categories/core-concepts", json!({"description": "What the rest is made of."})),
        ("/companies/anthropic", json!({"description": "Developer of the Claude models.", "founded_year": null})),
    ] {
        assert_eq!(app.send(Method::PATCH, path, Some(&token), Some(&change), &[]).await.status, 200, "{path}");
    }
    for path in ["/companies/cohere", "/companies/mistral-ai"] {
        assert_eq!(app.send(Method::DELETE, path, Some(&token), None, &[]).await.status, 204, "{path}");
    }
    app
}

/// The same operations, but so that none takes away what another needs: an entity is deleted last.
fn in_order(description: &Value) -> Vec<(String, Method, Value)> {
    let mut operations = operations(description);
    operations.sort_by_key(|(_, method, operation)| {
        (*method == Method::DELETE, operation["operationId"].as_str().unwrap().starts_with("delete_term"))
    });
    operations.sort_by_key(|(path, method, _)| *method == Method::DELETE && path.ends_with("{slug}"));
    operations
}

#[tokio::test]
async fn the_served_description_is_the_committed_one() {
    let app = TestApp::empty().await;
    for name in ["openapi.json", "openapi-3.0.json"] {
        let served = app.get(&format!("/{name}")).await;
        assert_committed(&root().join("openapi").join(name), &String::from_utf8(served.bytes).unwrap());
    }
}

#[test]
fn a_schema_name_has_one_meaning() {
    let mut known = BTreeMap::new();
    for (name, schema) in app::collect().schemas {
        let schema = serde_json::to_value(schema).unwrap();
        if let Some(other) = known.insert(name.clone(), schema.clone()) {
            assert_eq!(other, schema, "two types are called {name}; the description would keep one of them");
        }
    }
}

#[test]
fn every_operation_is_described_in_full() {
    let description = description();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&description) {
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no operationId"));
        assert!(ids.insert(id.to_owned()), "two operations are called {id}");
        for member in ["summary", "description", "tags"] {
            assert!(!operation[member].is_null(), "{id} has no {member}");
        }
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('4')), "{id} has no errors");
        for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "400") {
            let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{id} {status}");
        }
    }
}

/// The role that an operation needs; `None` where it is open to all, as all are that don't say otherwise.
fn needed(operation: &Value) -> Option<Role> {
    let id = &operation["operationId"];
    let ways = operation["security"].as_array().filter(|ways| !ways.is_empty())?;
    assert_eq!(*ways, [json!({"bearer": []})], "{id}: to a linter only an OAuth flow has scopes");
    let role = operation["x-role"].as_str().unwrap_or_else(|| panic!("{id} needs a token, and names no role"));
    assert!(operation["description"].as_str().unwrap().ends_with(&format!("Needs the role `{role}`.")), "{id}");
    Some(serde_json::from_value(json!(role)).unwrap())
}

/// The example of the operation's body, where it has one.
fn body(operation: &Value) -> Option<&Value> {
    let contents = operation.pointer("/requestBody/content")?.as_object()?;
    contents.get("application/json").or_else(|| contents.values().next())?.get("example")
}

/// The address of something that the operation can really be done to, where no example can know it.
async fn real(app: &TestApp, operation: &Value, address: String) -> String {
    match operation["operationId"].as_str().unwrap() {
        "purge" => {
            let id: Option<uuid::Uuid> =
                sqlx::query_scalar("select id from companies where deleted_at is not null limit 1")
                    .fetch_optional(app.pool())
                    .await
                    .unwrap();
            id.map_or(address, |id| format!("/trash/{id}"))
        }
        // The others have terms.
        "delete_category" => {
            app.write(vec![category(&json!({"name": "Empty"}))]).await.unwrap();
            "/categories/empty".into()
        }
        _ => address,
    }
}

/// A token under the id that the description's examples have.
async fn make_example_token(app: &TestApp) {
    let token = "insert into api_tokens (id, name, role, sha256, created_at) \
                 values ('01a20c78-4513-7096-a7ca-781f7eec597d', 'Ada''s editor', 'editor', sha256('x'), '2026-11-24T07:32:18Z')";
    sqlx::query(token).execute(app.pool()).await.unwrap();
}

/// The examples are answers of the real service on the glossary of the tests.
#[tokio::test]
async fn the_examples_are_real_answers() {
    let (samples, edited) = (TestApp::with_samples().await, edited_samples().await);
    let viewer = edited.token(Role::Viewer).await;
    let description = description();
    for (path, method, operation) in operations(&description) {
        let id = operation["operationId"].as_str().unwrap();
        if !openapi::EXAMPLES.iter().any(|(known, _)| *known == id) {
            continue;
        }
        let now = if operation["tags"] != json!(["tokens"]) && needed(&operation).is_some() {
            edited
                .send(method, &address(&path, &operation).replace("limit=1", "limit=2"), Some(&viewer), None, &[])
                .await
        } else if let Some(role) = needed(&operation) {
            // Of its own, so that the answer stays as it is when operations are added before this one.
            let app = TestApp::empty().await;
            make_example_token(&app).await;
            let token = app.token(role).await;
            app.send(method, &address(&path, &operation), Some(&token), body(&operation), &[]).await
        } else {
            samples.get(&address(&path, &operation).replace("limit=1", "limit=2")).await
        };
        let is_json = now.header("content-type").ends_with("json");
        let mut now = if is_json { now.json() } else { json!(String::from_utf8(now.bytes).unwrap()) };
        if let Some(secret) = now.get_mut("secret") {
            *secret = json!("tb_an-example-that-opens-nothing-anywhere-01234");
        }
        let now = serde_json::to_string_pretty(&now).unwrap() + "\n";
        assert_committed(&root().join(format!("openapi/examples/{id}.json")), &now);
    }
}

/// Each operation is called, and answers as it is described: status, type, and every member.
#[tokio::test]
async fn every_operation_answers_as_it_is_described() {
    let app = edited_samples().await;
    make_example_token(&app).await;
    let admin = app.token(Role::Admin).await;
    let description = description();
    for (path, method, operation) in in_order(&description) {
        let address = real(&app, &operation, address(&path, &operation)).await;
        let token = needed(&operation).map(|_role| admin.as_str());
        let answer = app.send(method, &address, token, body(&operation), &[]).await;
        let status = answer.status.as_u16().to_string();
        let response = &operation["responses"][&status];
        let id = &operation["operationId"];
        assert!(response.is_object(), "{id} answered {status}, which is not described");
        assert!(status.starts_with(['2', '3']), "{id} answered {status} to its example: {}", answer.json());
        let Some((kind, content)) = response["content"].as_object().and_then(|content| content.iter().next()) else {
            continue;
        };
        assert!(answer.header("content-type").starts_with(kind.as_str()), "{path}: {}", answer.header("content-type"));
        if kind.ends_with("/json") || kind.ends_with("+json") {
            check(&description, &content["schema"], &answer.json(), &path);
        }
        // `Age` stands there only while the database is away.
        let headers = response["headers"].as_object().map(|headers| headers.keys()).into_iter().flatten();
        for name in headers.filter(|name| *name != "Age") {
            assert!(answer.headers.contains_key(name.as_str()), "{path} has no {name}");
        }
    }
}

/// The table of roles and operations, made from what each operation says of itself. What is public is the editors' to
/// change, whatever the least role says, so each write is tried on drafts, and on what is public.
#[tokio::test]
async fn each_operation_is_open_to_its_role_and_those_above() {
    let description = description();
    for drafts in [true, false] {
        let app = if drafts { only_drafts().await } else { edited_samples().await };
        make_example_token(&app).await;
        let mut tokens = Vec::new();
        for role in Role::ALL {
            tokens.push((*role, app.token(*role).await));
        }
        for (path, method, operation) in in_order(&description) {
            let id = &operation["operationId"];
            let address = real(&app, &operation, address(&path, &operation)).await;
            let mut body = body(&operation).cloned();
            if let Some(members) = body.as_mut().filter(|_| drafts).and_then(Value::as_object_mut) {
                members.remove("status");
            }
            if let Some(Value::String(lines)) = body.as_mut().filter(|_| drafts) {
                *lines = lines.replace("published", "draft");
            }
            let send = async |token| app.send(method.clone(), &address, token, body.as_ref(), &[]).await;
            let Some(mut needed) = needed(&operation) else {
                assert_ne!(send(None).await.status, 401, "{id} needs no token");
                continue;
            };
            if needed == Role::Contributor && !drafts {
                needed = Role::Editor;
            }
            let none = send(None).await;
            none.problem(401, "token_required");
            assert_eq!(none.header("www-authenticate"), "Bearer realm=\"termbase\"", "{id}");
            for (role, token) in &tokens {
                let answer = send(Some(token)).await;
                if *role < needed {
                    let problem = answer.problem(403, "forbidden");
                    let detail = problem["detail"].as_str().unwrap();
                    assert!(
                        Role::ALL.iter().any(|needed| needed > role && detail.contains(needed.as_str())),
                        "{id}: {problem}"
                    );
                } else {
                    assert!(
                        ![401, 403].contains(&answer.status.as_u16()),
                        "{id} as {role}, drafts {drafts}: {answer:?}"
                    );
                }
            }
        }
    }
}

/// What the examples name, as drafts.
async fn only_drafts() -> TestApp {
    let app = TestApp::empty().await;
    let draft =
        |slug: &str| term(&json!({"name": slug, "slug": slug, "definition": "D.", "category": "core-concepts"}));
    let edits = vec![
        category(&json!({"name": "Core Concepts"})),
        draft("foundation-model"),
        draft("transformer"),
        draft("machine-learning-model"),
        company(&json!({"name": "Anthropic"})),
    ];
    app.write(edits).await.unwrap();
    app
}

/// A value has the members and types that its schema says, and no others.
fn check(description: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        return check(description, description.pointer(name.trim_start_matches('#')).unwrap(), value, place);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().map(|name| name.as_str().unwrap()).collect(),
        _ => return,
    };
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&found), "{place} is {found}, described as {types:?}");
    if let Some(members) = value.as_object() {
        let described = schema["properties"].as_object().unwrap();
        let required: BTreeSet<&str> =
            schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let there: BTreeSet<&str> = members.keys().map(String::as_str).collect();
        assert_eq!(there, required, "{place}: every member is always there, and described so");
        for (name, value) in members {
            check(description, &described[name], value, &format!("{place}.{name}"));
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(description, &schema["items"], item, &format!("{place}[{index}]"));
    }
}

/// openapi-python-client takes a client without a token only where an operation names none, be it as one of two ways.
#[test]
fn what_is_open_to_all_names_no_token_and_takes_one_all_the_same() {
    let description = description();
    assert_eq!(description["security"], json!([{}, {"bearer": []}]));
    for (path, _, operation) in operations(&description) {
        let takes_a_token = operation["responses"].get("401").is_some();
        match &operation["security"] {
            Value::Null => assert!(takes_a_token, "{path}"),
            ways if *ways == json!([]) => assert!(!takes_a_token, "{path}"),
            ways => assert_eq!(*ways, json!([{"bearer": []}]), "{path}"),
        }
    }
}

/// An address has 8,192 bytes at most: a parameter that may be as long is refused where it stands beside others.
#[test]
fn a_parameter_has_room_beside_others() {
    for (path, _, operation) in operations(&description()) {
        for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "query") {
            let longest = parameter["schema"]["maxLength"].as_u64().unwrap_or_default();
            assert!(longest <= 4096, "{path}: {}", parameter["name"]);
        }
    }
}

/// No object of an answer is nullable, and no list or object may be missing: both make bad clients.
#[test]
fn no_object_is_nullable() {
    let description = description();
    for (name, schema) in description["components"]["schemas"].as_object().unwrap() {
        for (member, schema) in schema["properties"].as_object().into_iter().flatten() {
            assert!(schema["oneOf"].is_null() && schema["anyOf"].is_null(), "{name}.{member} is a choice of schemas");
        }
    }
}

/// The documents were called `TermDocument_String`: generators make types of the names.
#[test]
fn a_schema_was_called_by_the_type_that_made_it() {
    let description = description();
    for name in description["components"]["schemas"].as_object().unwrap().keys() {
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
    }
}

/// A client that is generated from the description was made to send an alias's kind, though the service has a default.
#[test]
fn what_has_a_default_may_be_left_out_of_a_list_s_item() {
    let schemas = &description()["components"]["schemas"];
    for document in ["TermCreate", "TermPatch"] {
        for (member, item, required) in
            [("aliases", "AliasCreate", json!(["name"])), ("sources", "SourceCreate", json!(["title", "url"]))]
        {
            let reference = &schemas[document]["properties"][member]["items"]["$ref"];
            assert_eq!(*reference, format!("#/components/schemas/{item}"), "{document}");
            assert_eq!(schemas[item]["required"], required);
        }
    }
}

/// The table of hostile requests: each is refused as the client's mistake, with a problem; nothing of ours breaks.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn hostile_requests_get_a_problem() {
    let app = TestApp::with_samples().await;
    let admin = app.token(Role::Admin).await;
    let long = "a".repeat(5000);
    let cursor = app.get("/terms?limit=1").await.json()["next_cursor"].as_str().unwrap().to_owned();
    let tampered = cursor.replace('e', "f");
    let paths = [
        "/terms/%00",
        "/terms/a%00b",
        "/terms/%FF",
        "/terms/%E0%A4%A",
        "/terms/%2e%2e%2fetc",
        "/terms/a%2Fb",
        "/terms/..%5c..",
        "/terms/%",
        "/terms/'; drop table terms; --",
        "/terms/\"",
        "/terms/<script>",
        "/terms/ñ",
        "/terms/%F0%9F%92%A9",
        "/terms/a/b/c",
        "/terms/",
        "//terms",
        "/terms//",
        "/TERMS",
        "/terms/-",
        "/terms/--",
        "/terms/00000000-0000-0000-0000-000000000000",
        "/terms/ffffffffffffffffffffffffffffffff",
        "/terms/{slug}",
        "/categories/%00",
        "/companies/%00",
        "/problems/%00",
        "/docs/%00",
        "/docs/../x",
        "/terms/null",
        "/terms/undefined",
        "/terms/%25",
        "/terms/1e309",
        "/categories/\u{202e}",
        "/companies/%C0%80",
        "/.env",
        "/openapi.json/x",
    ];
    for path in paths {
        let answer = app.raw(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n")).await;
        assert!(answer.status.is_client_error(), "{path}: {answer:?}");
        if !answer.bytes.is_empty() {
            assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        }
    }
    let queries = [
        format!("?limit={long}"),
        format!("?{long}={long}"),
        "?limit=%00".into(),
        "?category=%00".into(),
        "?category=%FF".into(),
        "?category='--".into(),
        "?cursor=%00".into(),
        format!("?cursor={tampered}"),
        "?cursor=AAAA".into(),
        "?cursor=bnVsbA".into(),
        "?cursor=e30".into(),
        "?limit=1e3".into(),
        "?limit=0x10".into(),
        "?limit=%D9%A3".into(),
        "?limit=9223372036854775808".into(),
        "?limit[]=1".into(),
        "?limit=1&limit=2".into(),
        "?__proto__=1".into(),
        "?page=2".into(),
        "?sort=name;drop".into(),
        "?category=a&category=b".into(),
        "?&&&=".into(),
    ];
    for query in &queries {
        for path in
            ["/terms", "/companies", "/categories", "/terms/transformer", "/categories/training", "/companies/openai"]
        {
            let answer = app.raw(&format!("GET {path}{query} HTTP/1.1\r\nHost: x\r\n")).await;
            assert!(answer.status.is_client_error(), "{path}{query}: {answer:?}");
            assert_eq!(answer.header("content-type"), "application/problem+json", "{path}{query}");
        }
    }
    let headers = [
        "Accept-Encoding: ,,,;;q=x",
        "Accept: \u{0001}",
        "Accept-Encoding: br;q=9",
        "If-None-Match: \"",
        "Range: bytes=0-1",
        "Expect: 100-continue",
        "X-Request-Id: a b",
        "Content-Type: application/json",
        "Authorization: ",
        "Authorization: Bearer",
        "Authorization: Bearer tb_\u{7f}",
        "Cookie: a=b",
        "X-HTTP-Method-Override: DELETE",
        "Termbase-After: x",
        "Origin: null",
    ];
    for header in headers {
        let answer = app.raw(&format!("GET /terms HTTP/1.1\r\nHost: x\r\n{header}\r\n")).await;
        assert!(!answer.status.is_server_error(), "{header}: {answer:?}");
    }
    for body in
        [json!("x".repeat(2_000_000)).to_string(), "[".repeat(100_000), "{\"a\":1,\"a\":2}".into(), "\u{0}".into()]
    {
        for (method, path) in [
            (Method::POST, "/terms"),
            (Method::PATCH, "/terms/transformer"),
            (Method::PUT, "/terms/transformer/document"),
            (Method::PUT, "/terms/new/document"),
            (Method::PUT, "/terms/transformer/aliases?name=x"),
            (Method::PUT, "/terms/transformer/sources?url=https://a.example"),
            (Method::POST, "/categories"),
            (Method::PATCH, "/categories/training"),
            (Method::PATCH, "/companies/openai"),
            (Method::POST, "/tokens"),
        ] {
            let request = app.client.request(method.clone(), format!("{}{path}", app.address)).bearer_auth(&admin);
            // The answer may come, and the connection end, before all of a large body is sent.
            let sent = request.header("content-type", "application/json").body(body.clone()).send().await;
            let Ok(response) = sent else { continue };
            assert!(response.status().is_client_error(), "{method} {path}: {response:?}");
        }
    }
    assert_eq!(app.get("/readyz").await.status, 200);
    assert_eq!(app.get("/terms/transformer").await.status, 200);
}

/// A route is a handler's own, so that it is in the description; one registered by hand would not be.
#[test]
fn no_route_is_registered_past_the_description() {
    let mut folders = vec![root().join("src")];
    let mut sources: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { sources.push(path) }
        }
    }
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        for forbidden in [".route(", "web::resource(", "web::scope("] {
            assert!(!text.contains(forbidden), "{} registers a route by {forbidden}…)", path.display());
        }
    }
}
