//! Someone with a token at work: what the tests of writing have in common.

use reqwest::Method;
use serde_json::{Value, json};
use termbase::tokens::Role;

use crate::support::{Answer, TestApp, category, company, term};

/// Someone with a token of a role; nobody, where there is none.
pub struct Desk<'a> {
    app: &'a TestApp,
    token: Option<String>,
}

impl<'a> Desk<'a> {
    pub async fn of(app: &'a TestApp, role: Role) -> Self {
        Desk { app, token: Some(app.token(role).await) }
    }

    pub fn anonymous(app: &'a TestApp) -> Self {
        Desk { app, token: None }
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>, headers: &[(&str, &str)]) -> Answer {
        self.app.send(method, path, self.token.as_deref(), body, headers).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, &[]).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body), &[]).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, Some(body), &[]).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, Some(body), &[]).await
    }

    /// `PUT` of what its address says whole: a link.
    pub async fn link(&self, path: &str) -> Answer {
        self.send(Method::PUT, path, None, &[]).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None, &[]).await
    }

    pub async fn restore(&self, path: &str) -> Answer {
        self.send(Method::POST, &format!("{path}/restore"), None, &[]).await
    }

    /// The document, as editors write it.
    pub async fn document(&self, path: &str) -> Value {
        self.get(&format!("{path}/document")).await.ok()
    }

    /// The version that it is at, in the trash or not.
    pub async fn version(&self, path: &str) -> i64 {
        self.get(&format!("{path}/revisions?limit=1")).await.ok()["items"][0]["version"].as_i64().unwrap()
    }
}

impl Answer {
    /// The body of an answer that is no refusal.
    pub fn ok(&self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    /// The mistakes of a problem: where each is, and its code.
    pub fn faults(&self) -> Vec<(String, String)> {
        let fault = |fault: &Value| {
            let place = [&fault["pointer"], &fault["parameter"]].into_iter().find_map(Value::as_str).unwrap();
            (place.to_owned(), fault["code"].as_str().unwrap().to_owned())
        };
        self.json()["errors"].as_array().unwrap().iter().map(fault).collect()
    }

    /// The slugs of what stands in the way.
    pub fn conflicts(&self) -> Vec<String> {
        slugs(&self.json()["conflicts"])
    }
}

/// The slugs of a list's items.
pub fn slugs(items: &Value) -> Vec<String> {
    let items = items.as_array().unwrap_or_else(|| panic!("no list: {items}"));
    items.iter().map(|item| item["slug"].as_str().unwrap().to_owned()).collect()
}

/// The newest position.
pub async fn position(app: &TestApp) -> i64 {
    sqlx::query_scalar("select position from log_head").fetch_one(app.pool()).await.unwrap()
}

/// A published term of the category `c`.
pub fn published(slug: &str) -> Value {
    json!({"slug": slug, "name": slug, "definition": "D.", "category": "c", "status": "published"})
}

/// The same with one member of its own.
pub fn with(mut document: Value, member: &str, value: impl Into<Value>) -> Value {
    document[member] = value.into();
    document
}

/// A draft in the category `c`.
pub fn draft(slug: &str) -> Value {
    with(published(slug), "status", "draft")
}

/// The categories `c` and `e`, the terms `a`, `b` and `d`, and the companies `k` and `l`, all of them public.
pub async fn glossary() -> TestApp {
    let app = TestApp::empty().await;
    let laboratory = |slug: &str| company(&json!({"slug": slug, "name": slug, "status": "published"}));
    let mut edits = vec![category(&json!({"name": "C"})), category(&json!({"name": "E"}))];
    edits.extend(["a", "b", "d"].map(|slug| term(&published(slug))));
    edits.extend(["k", "l"].map(laboratory));
    app.write(edits).await.unwrap();
    app
}

/// Mistakes as [`Answer::faults`] has them.
pub fn at(places: &[(&str, &str)]) -> Vec<(String, String)> {
    places.iter().map(|(place, code)| ((*place).to_owned(), (*code).to_owned())).collect()
}
