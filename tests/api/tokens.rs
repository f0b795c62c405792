//! Tokens: who may do what, over HTTP. The command line is in `serve.rs`, each role on each operation in `contract.rs`.

use reqwest::Method;
use serde_json::{Value, json};
use termbase::tokens::Role;

use crate::support::{Answer, TestApp};

async fn get(app: &TestApp, path: &str, token: &str) -> Answer {
    app.send(Method::GET, path, Some(token), None, &[]).await
}

async fn post(app: &TestApp, token: &str, body: &Value) -> Answer {
    app.send(Method::POST, "/tokens", Some(token), Some(body), &[]).await
}

async fn revoke(app: &TestApp, token: &str, id: &str) -> Answer {
    app.send(Method::DELETE, &format!("/tokens/{id}"), Some(token), None, &[]).await
}

async fn id(app: &TestApp, token: &str) -> String {
    get(app, "/me", token).await.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_that_is_made_opens_what_its_role_may() {
    let app = TestApp::empty().await;
    let admin = app.token(Role::Admin).await;
    let made =
        post(&app, &admin, &json!({"name": "Ada", "role": "viewer", "expires_at": "2027-01-31T01:30:00+01:30"})).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.header("cache-control"), "private, no-store");
    let token = made.json();
    assert_eq!(made.header("location"), format!("/tokens/{}", token["id"].as_str().unwrap()));
    let secret = token["secret"].as_str().unwrap();
    assert!(secret.starts_with("tb_") && secret.len() == 46, "{secret}");
    let me = get(&app, "/me", secret).await;
    assert_eq!((me.status.as_u16(), me.header("cache-control")), (200, "private, no-store"));
    let expected =
        json!({"id": token["id"], "name": "Ada", "role": "viewer", "expires_at": "2027-01-31T00:00:00.000000Z"});
    assert_eq!(me.json(), expected);
    get(&app, "/tokens", secret).await.problem(403, "forbidden");
    let stored: Vec<u8> =
        sqlx::query_scalar("select sha256 from api_tokens where name = 'Ada'").fetch_one(app.pool()).await.unwrap();
    assert_eq!(stored, termbase::http::auth::hash(secret));
}

#[tokio::test]
async fn the_secret_is_shown_once() {
    let app = TestApp::empty().await;
    let admin = app.token(Role::Admin).await;
    let made = post(&app, &admin, &json!({"name": "Ada", "role": "editor"})).await;
    let token = made.json();
    let read = get(&app, made.header("location"), &admin).await;
    let mut without = token.clone();
    without.as_object_mut().unwrap().remove("secret");
    assert_eq!((read.status.as_u16(), read.json()), (200, without.clone()));
    let list = get(&app, "/tokens", &admin).await;
    assert_eq!(list.header("cache-control"), "private, no-store");
    assert_eq!(list.json()["items"][0], without);
    let text = String::from_utf8(list.bytes).unwrap();
    assert!(!text.contains(token["secret"].as_str().unwrap()) && !text.contains(&admin));
}

#[tokio::test]
async fn every_mistake_of_a_new_token_is_said_at_once() {
    let app = TestApp::empty().await;
    let admin = app.token(Role::Admin).await;
    for (body, places) in [
        (json!({}), vec![("/name", "required"), ("/role", "required")]),
        (
            json!({"name": "", "role": "owner", "expires_at": "tomorrow", "roel": 1}),
            vec![
                ("/name", "too_short"),
                ("/role", "unknown_value"),
                ("/expires_at", "not_a_time"),
                ("/roel", "unknown_member"),
            ],
        ),
        (json!({"name": "a\nb", "role": "admin"}), vec![("/name", "control_character")]),
        (json!({"name": "n".repeat(101), "role": "admin"}), vec![("/name", "too_long")]),
        (json!({"name": "n", "role": "Admin"}), vec![("/role", "unknown_value")]),
        (json!({"name": "n", "role": null}), vec![("/role", "required")]),
        (
            json!({"name": 1, "role": 2, "expires_at": 3}),
            vec![("/name", "wrong_type"), ("/role", "wrong_type"), ("/expires_at", "wrong_type")],
        ),
        (
            json!({"name": "n", "role": "admin", "expires_at": "2026-11-24T12:00:00Z"}),
            vec![("/expires_at", "not_in_the_future")],
        ),
        (
            json!({"name": "n", "role": "admin", "expires_at": "9999-12-31T23:59:59-01:00"}),
            vec![("/expires_at", "not_a_time")],
        ),
        (
            json!({"name": "n", "role": "admin", "expires_at": "2027-02-29T00:00:00Z"}),
            vec![("/expires_at", "not_a_time")],
        ),
        (json!([]), vec![("", "wrong_type")]),
    ] {
        let problem = post(&app, &admin, &body).await.problem(422, "invalid_document");
        let faults = problem["errors"].as_array().unwrap().iter();
        let found: Vec<_> =
            faults.map(|fault| (fault["pointer"].as_str().unwrap(), fault["code"].as_str().unwrap())).collect();
        assert_eq!(found, places, "{body}");
    }
    assert_eq!(get(&app, "/tokens", &admin).await.json()["total"], 1);
    app.send(Method::POST, "/tokens?x=1", Some(&admin), Some(&json!({})), &[]).await.problem(400, "bad_request");
}

#[tokio::test]
async fn tokens_are_listed_in_pages_the_newest_first() {
    let app = TestApp::empty().await;
    let admin = app.token(Role::Admin).await;
    for number in 0..4 {
        post(&app, &admin, &json!({"name": format!("n{number}"), "role": "viewer"})).await;
    }
    let (mut names, mut address) = (Vec::new(), Some("/tokens?limit=2".to_owned()));
    while let Some(next) = address {
        let page = get(&app, &next, &admin).await;
        let json = page.json();
        assert_eq!(json["total"], 5);
        names.extend(json["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        address = json["next_cursor"].as_str().map(|cursor| format!("/tokens?limit=2&cursor={cursor}"));
        let link = page.headers.get("link").map(|link| link.to_str().unwrap().to_owned());
        assert_eq!(link, address.as_ref().map(|address| format!("<{address}>; rel=\"next\"")));
    }
    assert_eq!(names, ["n3", "n2", "n1", "n0", "test admin"]);
    get(&app, "/tokens?limit=0", &admin).await.problem(400, "bad_request");
    get(&app, "/tokens?cursor=x", &admin).await.problem(400, "bad_request");
}

#[tokio::test]
async fn a_revoked_token_opens_nothing_and_stays_in_the_list() {
    let app = TestApp::empty().await;
    let (admin, editor) = (app.token(Role::Admin).await, app.token(Role::Editor).await);
    let id = id(&app, &editor).await;
    let revoked = revoke(&app, &admin, &id).await;
    assert_eq!(
        (revoked.status.as_u16(), revoked.bytes.len(), revoked.header("cache-control")),
        (204, 0, "private, no-store")
    );
    get(&app, "/me", &editor).await.problem(401, "invalid_token");
    get(&app, "/terms", &editor).await.problem(401, "invalid_token");
    let since = get(&app, &format!("/tokens/{id}"), &admin).await.json()["revoked_at"].clone();
    assert!(since.is_string());
    assert_eq!(revoke(&app, &admin, &id).await.status, 204);
    let list = get(&app, "/tokens", &admin).await.json();
    assert_eq!((&list["total"], &list["items"][0]["revoked_at"]), (&json!(2), &since), "a repeat changes nothing");
}

#[tokio::test]
async fn an_expired_token_opens_nothing() {
    let app = TestApp::empty().await;
    let editor = app.token(Role::Editor).await;
    assert_eq!(get(&app, "/me", &editor).await.status, 200);
    sqlx::query("update api_tokens set expires_at = created_at").execute(app.pool()).await.unwrap();
    get(&app, "/me", &editor).await.problem(401, "invalid_token");
}

#[tokio::test]
async fn nobody_locks_himself_out() {
    let app = TestApp::empty().await;
    let (first, second) = (app.token(Role::Admin).await, app.token(Role::Admin).await);
    let (first_id, second_id) = (id(&app, &first).await, id(&app, &second).await);
    assert_eq!(revoke(&app, &first, &first_id).await.status, 204, "one's own, while there is another");
    let problem = revoke(&app, &second, &second_id).await.problem(409, "conflict");
    for way in ["POST /tokens", "termbase token create"] {
        assert!(problem["detail"].as_str().unwrap().contains(way), "{problem}");
    }
    assert_eq!(get(&app, "/me", &second).await.status, 200);
    let third = app.token(Role::Admin).await;
    sqlx::query("update api_tokens set expires_at = created_at where id = $1::text::uuid")
        .bind(id(&app, &third).await)
        .execute(app.pool())
        .await
        .unwrap();
    revoke(&app, &second, &second_id).await.problem(409, "conflict");
    assert_eq!(revoke(&app, &second, &first_id).await.status, 204, "a repeat is not refused");
}

#[tokio::test]
async fn of_two_that_revoke_each_other_one_stays() {
    let app = TestApp::empty().await;
    let (one, other) = (app.token(Role::Admin).await, app.token(Role::Admin).await);
    let (one_id, other_id) = (id(&app, &one).await, id(&app, &other).await);
    let (a, b) = tokio::join!(revoke(&app, &one, &other_id), revoke(&app, &other, &one_id));
    // The second one either finds itself the last, or revoked before it was heard.
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert!(statuses[0] == 204 && [401, 409].contains(&statuses[1]), "{statuses:?}");
}

#[tokio::test]
async fn what_is_no_token_is_not_found() {
    let app = TestApp::empty().await;
    let admin = app.token(Role::Admin).await;
    for unknown in ["01a20c78-4513-7096-a7ca-781f7eec597d", "x", "%20"] {
        let answer = get(&app, &format!("/tokens/{unknown}"), &admin).await;
        answer.problem(404, "not_found");
        assert!(answer.header("cache-control").contains("no-store"));
        revoke(&app, &admin, unknown).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn when_a_token_was_last_used_is_kept_to_the_minute() {
    let app = TestApp::empty().await;
    let admin = app.token(Role::Admin).await;
    let id = id(&app, &admin).await;
    let used = async || -> String {
        sqlx::query_scalar("select last_used_at::text from api_tokens").fetch_one(app.pool()).await.unwrap()
    };
    let first = used().await;
    get(&app, "/terms", &admin).await;
    assert_eq!(used().await, first, "a minute has not passed");
    sqlx::query("update api_tokens set last_used_at = last_used_at - interval '61 seconds'")
        .execute(app.pool())
        .await
        .unwrap();
    get(&app, "/terms", &admin).await;
    assert!(used().await > first);
    let shown = get(&app, &format!("/tokens/{id}"), &admin).await.json()["last_used_at"].clone();
    assert!(shown.is_string());
}

/// Somebody else is at its row: who only reads does not wait for that.
#[tokio::test]
async fn a_hot_token_never_waits() {
    let app = TestApp::empty().await;
    let admin = app.token(Role::Admin).await;
    let mut other = app.database.connect().await;
    sqlx::raw_sql("begin; update api_tokens set last_used_at = null").execute(&mut other).await.unwrap();
    assert_eq!(get(&app, "/me", &admin).await.status, 200);
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
}

#[tokio::test]
async fn who_comes_without_a_token_is_told_so_and_no_error_is_named() {
    let app = TestApp::empty().await;
    let (viewer, realm) = (app.token(Role::Viewer).await, "Bearer realm=\"termbase\"");
    let none = app.get("/me").await;
    none.problem(401, "token_required");
    assert_eq!(none.header("www-authenticate"), realm);
    let bad = get(&app, "/me", "tb_unknown").await;
    bad.problem(401, "invalid_token");
    assert_eq!(bad.header("www-authenticate"), format!("{realm}, error=\"invalid_token\""));
    let low = get(&app, "/tokens", &viewer).await;
    let problem = low.problem(403, "forbidden");
    assert_eq!(low.header("www-authenticate"), format!("{realm}, error=\"insufficient_scope\""));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("role admin") && detail.contains("role viewer"), "{detail}");
}

#[tokio::test]
async fn a_body_that_can_not_be_read_makes_no_token() {
    let app = TestApp::empty().await;
    let admin = app.token(Role::Admin).await;
    for (kind, body, status, code) in [
        ("application/json", "{\"name\":\"a\\u0000\",\"role\":\"admin\"}", 400, "bad_request"),
        ("application/json", "{\"name\":\"a\",\"role\":\"viewer\",\"role\":\"admin\"}", 400, "bad_request"),
        ("application/json", "{\"name\":", 400, "bad_request"),
        ("application/json", "", 400, "bad_request"),
        // What a page may send without asking first.
        ("text/plain", "{\"name\":\"a\",\"role\":\"admin\"}", 415, "unsupported_media_type"),
    ] {
        let request = app.client.post(format!("{}/tokens", app.address)).header("content-type", kind);
        let answer = Answer::of(request.bearer_auth(&admin).body(body).send().await.unwrap()).await;
        answer.problem(status, code);
    }
    assert_eq!(get(&app, "/tokens", &admin).await.json()["total"], 1);
}
