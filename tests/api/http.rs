//! What HTTP promises on every address: tags, codings, methods, headers, limits.

use std::{
    io::{Read, Write},
    time::Duration,
};

use flate2::read::GzDecoder;
use reqwest::Method;
use serde_json::json;
use termbase::{
    editorial::{self, Edit},
    state::Origins,
};
use tokio::io::AsyncWriteExt;

use crate::support::{Answer, Content, TestApp, category, company, http_settings, term, term_again};

const READS: [&str; 10] = [
    "/terms/foundation-model",
    "/terms/foundation-model.jsonld",
    "/terms",
    "/categories",
    "/categories/training",
    "/companies",
    "/companies/openai",
    "/sitemap.xml",
    "/feed.atom",
    "/search?q=model",
];

#[tokio::test]
async fn a_tag_gets_its_304_in_its_coding_alone() {
    let app = TestApp::with_samples().await;
    for path in READS {
        let mut tags = Vec::new();
        for coding in ["identity", "gzip", "br"] {
            let answer = app.request(Method::GET, path, &[("accept-encoding", coding)]).await;
            let tag = answer.header("etag").to_owned();
            assert!(tag.ends_with(&format!(".{coding}\"")), "{path} {tag}");
            for given in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".into()] {
                let again =
                    app.request(Method::GET, path, &[("accept-encoding", coding), ("if-none-match", &given)]).await;
                assert_eq!(
                    (again.status.as_u16(), again.bytes.len(), again.header("etag")),
                    (304, 0, tag.as_str()),
                    "{path} {given}"
                );
                assert_eq!(again.header("cache-control"), answer.header("cache-control"));
            }
            let other =
                app.request(Method::GET, path, &[("accept-encoding", coding), ("if-none-match", "\"other\"")]).await;
            assert_eq!(other.status, 200);
            tags.push(tag);
        }
        tags.dedup();
        assert_eq!(tags.len(), 3, "{path}");
    }
}

#[tokio::test]
async fn a_changed_page_has_another_tag() {
    let app = TestApp::empty().await;
    let document =
        |name: &str| json!({"slug": "t", "name": name, "definition": "D.", "category": "c", "status": "published"});
    let applied = app.write(vec![category(&json!({"name": "C"})), term(&document("T"))]).await.unwrap();
    let before = app.get("/terms/t").await.header("etag").to_owned();
    app.write(vec![term_again(applied[1].id, &document("Tea"))]).await.unwrap();
    let after = app.request(Method::GET, "/terms/t", &[("if-none-match", &before)]).await;
    assert_eq!(after.status, 200);
    let revision = |tag: &str| tag.split('.').next().unwrap().to_owned();
    assert_ne!(revision(after.header("etag")), revision(&before));
}

#[tokio::test]
async fn a_body_is_the_same_in_every_coding() {
    let app = TestApp::with_samples().await;
    let plain = app.get("/terms/foundation-model").await;
    assert!(plain.headers.get("content-encoding").is_none());
    let gzip = app.request(Method::GET, "/terms/foundation-model", &[("accept-encoding", "gzip;q=1, br;q=0.5")]).await;
    assert_eq!(gzip.header("content-encoding"), "gzip");
    let mut unpacked = Vec::new();
    GzDecoder::new(gzip.bytes.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.bytes);
    let br =
        app.request(Method::GET, "/terms/foundation-model", &[("accept-encoding", "gzip, deflate, br, zstd")]).await;
    assert_eq!(br.header("content-encoding"), "br");
    let mut unpacked = Vec::new();
    brotli::Decompressor::new(br.bytes.as_slice(), 4096).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.bytes);
    assert!(br.bytes.len() * 2 < plain.bytes.len());
    app.request(Method::GET, "/terms", &[("accept-encoding", "identity;q=0, *;q=0")])
        .await
        .problem(406, "not_acceptable");
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let app = TestApp::with_samples().await;
    for path in READS.iter().chain(&["/healthz", "/openapi.json", "/", "/docs/", "/terms/nothing"]) {
        let get = app.get(path).await;
        let head = app.request(Method::HEAD, path, &[]).await;
        assert_eq!((head.status, head.bytes.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-length"), get.bytes.len().to_string(), "{path}");
        assert_eq!(head.headers.get("etag"), get.headers.get("etag"), "{path}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let app = TestApp::empty().await;
    for (path, allow) in [
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
        ("/problems/gone", "GET, HEAD, OPTIONS"),
        ("/terms", "GET, HEAD, POST, OPTIONS"),
        ("/companies/anthropic", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("/terms/foundation-model/document", "GET, HEAD, PUT, OPTIONS"),
        ("/terms/foundation-model/restore", "POST, OPTIONS"),
        ("/terms/foundation-model/related/transformer", "PUT, DELETE, OPTIONS"),
    ] {
        let wrong = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE];
        for method in wrong.into_iter().filter(|method| !allow.contains(method.as_str())) {
            let answer = app.request(method, path, &[]).await;
            answer.problem(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), allow, "{path}");
        }
        let asking = [("origin", "https://x.example"), ("access-control-request-method", "GET")];
        let options = app.request(Method::OPTIONS, path, &asking).await;
        assert_eq!((options.status.as_u16(), options.header("allow")), (204, allow));
        assert_eq!(options.header("access-control-allow-origin"), "*");
        assert!(options.header("access-control-allow-headers").contains("If-None-Match"));
        assert_eq!(options.headers.contains_key("accept-patch"), allow.contains("PATCH"), "{path}");
    }
    app.request(Method::OPTIONS, "/nothing", &[]).await.problem(404, "not_found");
}

#[tokio::test]
async fn pages_of_chosen_origins_may_write_and_all_may_read() {
    let mut settings = http_settings();
    settings.write_origins = Origins::These(vec!["https://editor.example".into()]);
    let app = TestApp::start(Content::Nothing, settings).await;
    let ask = async |origin: &str, method: &str| {
        let headers = [("origin", origin), ("access-control-request-method", method)];
        let answer = app.request(Method::OPTIONS, "/tokens", &headers).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, "GET, HEAD, POST, OPTIONS"));
        assert_eq!(answer.header("vary"), "Origin, Access-Control-Request-Method");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        answer
    };
    for (origin, remembered) in [("https://editor.example", "86400"), ("https://else.example", "0")] {
        for method in ["GET", "HEAD"] {
            let answer = ask(origin, method).await;
            assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD, OPTIONS");
            assert!(answer.header("access-control-allow-headers").contains("Authorization"));
            assert_eq!(answer.header("access-control-max-age"), remembered);
        }
    }
    for method in ["POST", "DELETE", "PATCH"] {
        let answer = ask("https://editor.example", method).await;
        assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD, POST, OPTIONS");
        for header in ["Authorization", "If-Match", "Idempotency-Key", "Termbase-After", "Content-Type"] {
            assert!(answer.header("access-control-allow-headers").contains(header));
        }
        for origin in ["https://else.example", "null", "https://editor.example:444"] {
            let answer = ask(origin, method).await;
            for permission in ["methods", "headers"] {
                assert!(!answer.headers.contains_key(format!("access-control-allow-{permission}")), "{origin}");
            }
        }
    }
    let exposed = app.get("/terms").await.header("access-control-expose-headers").to_owned();
    for header in
        ["ETag", "Location", "Link", "Termbase-Position", "Retry-After", "X-Request-Id", "Idempotency-Replayed"]
    {
        assert!(exposed.contains(header), "{exposed}");
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_is_open_to_pages() {
    let app = TestApp::with_samples().await;
    for path in READS.iter().chain(&["/nothing", "/terms?limit=0", "/healthz", "/docs/", "/%00"]) {
        let answer = app.get(path).await;
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        assert!(answer.header("access-control-expose-headers").contains("Termbase-Position"));
    }
    let own = app.request(Method::GET, "/terms", &[("x-request-id", "trace-7")]).await;
    assert_eq!(own.header("x-request-id"), "trace-7");
    let forged = app.request(Method::GET, "/terms", &[("x-request-id", "a b\"c")]).await;
    assert_ne!(forged.header("x-request-id"), "a b\"c");
}

#[tokio::test]
async fn public_answers_may_be_kept_and_others_not() {
    let app = TestApp::with_samples().await;
    for path in READS.iter().chain(&["/terms/nothing"]) {
        let answer = app.get(path).await;
        assert_eq!(answer.header("cache-control"), "public, max-age=0, s-maxage=60", "{path}");
        let vary = answer.header("vary").replace("Accept, ", "");
        assert_eq!(vary, "Accept-Encoding, Authorization, Termbase-After", "{path}");
        let after = app.request(Method::GET, path, &[("termbase-after", answer.header("termbase-position"))]).await;
        assert_eq!(after.header("cache-control"), "private, no-store", "{path}");
    }
    assert_eq!(app.get("/readyz").await.header("cache-control"), "private, no-store");
}

#[tokio::test]
async fn a_position_grows_with_every_write() {
    let app = TestApp::empty().await;
    let number = async || -> i64 {
        app.get("/terms").await.header("termbase-position").rsplit_once('-').unwrap().1.parse().unwrap()
    };
    assert_eq!(number().await, 0);
    app.write(vec![category(&json!({"name": "C"})), company(&json!({"name": "K"}))]).await.unwrap();
    assert_eq!(number().await, 2, "one change a document");
}

#[tokio::test]
async fn a_position_that_is_there_is_answered_at_once() {
    let app = TestApp::with_samples().await;
    for path in READS {
        let position = app.get(path).await.header("termbase-position").to_owned();
        let again = app.request(Method::GET, path, &[("termbase-after", &position)]).await;
        assert_eq!((again.status.as_u16(), again.header("termbase-position")), (200, &*position), "{path}");
    }
}

#[tokio::test]
async fn a_position_that_is_written_meanwhile_is_waited_for() {
    let app = TestApp::empty().await;
    let log = app.get("/categories").await.header("termbase-position").trim_end_matches("-0").to_owned();
    let after = format!("{log}-1");
    let ask = || app.client.get(format!("{}/categories", app.address)).header("termbase-after", &after).send();
    let waiting = tokio::spawn(ask());
    // It waits while the log is looked at.
    let mut watch = app.database.connect().await;
    let looks = "select query_start::text from pg_stat_activity \
                 where datname = current_database() and pid <> pg_backend_pid() and query like '%from changes%'";
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        seen.extend(sqlx::query_scalar::<_, String>(looks).fetch_all(&mut watch).await.unwrap());
    }
    app.write(vec![category(&json!({"name": "C"}))]).await.unwrap();
    let mut answer = Answer::of(waiting.await.unwrap().unwrap()).await;
    // On a slow machine the write came after its patience.
    if answer.status == 503 {
        answer = Answer::of(ask().await.unwrap()).await;
    }
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!((answer.header("termbase-position"), &answer.json()["total"]), (&*format!("{log}-1"), &json!(1)));
}

#[tokio::test]
async fn a_position_that_is_not_here_is_a_503_and_one_of_another_log_a_410() {
    let app = TestApp::empty().await;
    let log = app.get("/terms").await.header("termbase-position").trim_end_matches("-0").to_owned();
    let ask = async |path: &str, after: &str| app.request(Method::GET, path, &[("termbase-after", after)]).await;
    let late = ask("/terms", &format!("{log}-1")).await;
    let problem = late.problem(503, "unavailable");
    assert!(problem["detail"].as_str().unwrap().contains(&format!("{log}-1")), "{problem}");
    assert_eq!(late.header("retry-after"), "1");
    for path in READS {
        ask(path, "0123456789abcdef0123456789abcdef-0").await.problem(410, "log_restarted");
        for malformed in ["", "x", &log, &format!("{log}-"), &format!("{log}--1"), &format!("{log}-01"), "-1", "18-18"]
        {
            let problem = ask(path, malformed).await.problem(400, "bad_request");
            let fault = &problem["errors"][0];
            assert_eq!((&fault["in"], &fault["parameter"]), (&json!("header"), &json!("Termbase-After")), "{problem}");
        }
    }
    let twice = [("termbase-after", &*format!("{log}-0")), ("termbase-after", &*format!("{log}-0"))];
    app.request(Method::GET, "/terms", &twice).await.problem(400, "bad_request");
}

#[tokio::test]
async fn who_may_not_is_told_so_before_his_position_is_looked_at() {
    let app = TestApp::empty().await;
    for after in ["x", "0123456789abcdef0123456789abcdef-0"] {
        app.request(Method::GET, "/me", &[("termbase-after", after)]).await.problem(401, "token_required");
    }
}

#[tokio::test]
async fn a_token_opens_reads_and_a_bad_one_is_refused() {
    let app = TestApp::with_samples().await;
    let token = "tb_0123456789012345678901234567890123456789";
    let secret = secrecy::SecretString::from(token);
    assert!(termbase::tokens::make_first(&app.state, Some(&secret), |_| Ok(())).await.unwrap());
    let bearer = format!("Bearer {token}");
    let answer = app.request(Method::GET, "/terms", &[("authorization", &bearer)]).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "private, no-store"));
    for bad in ["Bearer tb_1123456789012345678901234567890123456789", "Bearer x", "Basic dTpw", "Bearer", "tb_x"] {
        for path in READS {
            let answer = app.request(Method::GET, path, &[("authorization", bad)]).await;
            answer.problem(401, "invalid_token");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
    }
    let stored: Vec<u8> = sqlx::query_scalar("select sha256 from api_tokens").fetch_one(app.pool()).await.unwrap();
    assert_eq!(stored, termbase::http::auth::hash(token));
    sqlx::query("update api_tokens set revoked_at = now()").execute(app.pool()).await.unwrap();
    app.request(Method::GET, "/terms", &[("authorization", &bearer)]).await.problem(401, "invalid_token");
}

#[tokio::test]
async fn the_index_leads_a_browser_to_the_docs() {
    let app = TestApp::empty().await;
    let browser = app.request(Method::GET, "/", &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")]).await;
    assert_eq!((browser.status.as_u16(), browser.header("location")), (303, "docs"));
    let index = app.get("/").await.json();
    for path in ["terms", "categories", "companies", "description", "readiness"] {
        assert_eq!(app.get(index[path].as_str().unwrap()).await.status, 200, "{path}");
    }
    let page = app.get("/docs").await;
    assert_eq!(page.status, 200);
    for file in ["swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"] {
        let file = app.get(&format!("/docs/{file}")).await;
        assert_eq!(file.status, 200);
        let text = String::from_utf8_lossy(&file.bytes).into_owned();
        assert!(!text.contains("unpkg.com") && !text.contains("jsdelivr"), "the docs load nothing from elsewhere");
    }
    assert!(!String::from_utf8_lossy(&page.bytes).contains("https://"));
}

#[tokio::test]
async fn each_kind_of_problem_is_explained() {
    let app = TestApp::empty().await;
    for problem in termbase::error::PROBLEMS {
        let page = app.get(&format!("/problems/{}", problem.code)).await;
        assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
        assert!(String::from_utf8_lossy(&page.bytes).contains(problem.title));
    }
    app.get("/problems/nothing").await.problem(404, "not_found");
}

/// The database goes away under the running service: no answer hangs, none blames the client.
#[tokio::test]
async fn without_its_database_it_says_503_and_when_to_come_back() {
    let app = TestApp::with_samples().await;
    assert_eq!(app.get("/readyz").await.status, 200);
    app.database.close().await;
    for path in READS {
        let answer = app.get(path).await;
        answer.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1", "{path}");
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("sqlx"));
    }
    let ready = app.get("/readyz").await;
    assert_eq!(ready.problem(503, "unavailable")["detail"], "The database does not answer.");
    assert_eq!(app.get("/healthz").await.status, 200);
    app.database.open().await;
    // The next look finds it.
    while app.get("/readyz").await.status != 200 {}
    assert_eq!(app.get("/terms/foundation-model").await.status, 200, "nothing needs a restart");
    assert_eq!(app.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let mut settings = http_settings();
    settings.request_timeout = Duration::from_millis(300);
    let app = TestApp::start(Content::Samples, settings).await;
    let mut lock = app.database.connect().await;
    sqlx::raw_sql("begin; lock table term_aliases in access exclusive mode").execute(&mut lock).await.unwrap();
    let answer = app.get("/terms/foundation-model").await;
    answer.problem(503, "timed_out");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(!answer.header("x-request-id").is_empty());
    sqlx::raw_sql("rollback").execute(&mut lock).await.unwrap();
    assert_eq!(app.get("/terms/foundation-model").await.status, 200);
}

/// What can't be read as HTTP is refused below our code, with an empty body; the connection ends, the service goes on.
#[tokio::test]
async fn what_is_no_http_is_refused_and_harms_nothing() {
    let app = TestApp::empty().await;
    let address = app.address.trim_start_matches("http://").to_owned();
    let long = format!("GET /terms HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(200_000));
    for (request, status) in [
        ("NONSENSE\r\n\r\n".to_owned(), "400"),
        ("GET /terms HTTP/9.9\r\nHost: x\r\n\r\n".to_owned(), "400"),
        ("GET /terms HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (long, "431"),
    ] {
        let address = address.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(&address).unwrap();
            // The server may answer and close before all of it is sent.
            let _ = stream.write_all(request.as_bytes());
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        });
        let answer = answer.await.unwrap();
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    assert_eq!(app.get("/healthz").await.status, 200);
}

/// A write whose client is gone has happened or has not; the next one finds the head free.
#[tokio::test]
async fn a_dropped_write_leaves_nothing() {
    let app = TestApp::empty().await;
    let mut write =
        editorial::Write::open(&app.state, &termbase::tokens::Author::program("tests"), None).await.unwrap();
    let edits: Vec<Edit> = vec![category(&json!({"name": "C"}))];
    write.apply(edits).await.unwrap();
    drop(write);
    assert_eq!(app.get("/categories").await.json()["total"], 0);
    app.write(vec![category(&json!({"name": "C"}))]).await.unwrap();
    assert_eq!(app.get("/categories").await.json()["total"], 1);
}

/// What the framework answers by itself, and a handler that panics, pass the same boundary as all else.
#[actix_web::test]
async fn whatever_fails_below_the_boundary_is_a_problem() {
    use actix_web::{App, HttpResponse, middleware::from_fn, test, web};
    let app = TestApp::empty().await;
    let service = App::new()
        .app_data(app.state.clone())
        .app_data(web::PayloadConfig::new(10))
        .service(web::resource("/panic").to(async || -> HttpResponse { panic!("select secret from vault") }))
        .service(web::resource("/body").to(async |_: web::Bytes| HttpResponse::Ok()))
        .service(web::resource("/number/{n}").to(async |_: web::Path<u8>| HttpResponse::Ok()))
        .service(web::resource("/bare").to(async || HttpResponse::ImATeapot()))
        .wrap(from_fn(termbase::http::boundary::boundary));
    let service = test::init_service(service).await;
    for (path, status, code) in [
        ("/panic", 500, "internal_error"),
        ("/body", 413, "content_too_large"),
        ("/number/x", 404, "not_found"),
        // A status that has no problem of its own becomes the plainest one of its class.
        ("/bare", 400, "bad_request"),
        ("/nothing", 404, "not_found"),
    ] {
        let request = test::TestRequest::post().uri(path).set_payload("more than ten bytes").to_request();
        let response = match test::try_call_service(&service, request).await {
            Ok(response) => response.map_into_boxed_body().into_parts().1,
            // After a panic no request is left to answer through; the server makes this of the error.
            Err(error) => error.as_response_error().error_response(),
        };
        assert_eq!(response.headers().get("content-type").unwrap(), "application/problem+json", "{path}");
        assert!(
            response.headers().contains_key("x-request-id")
                && response.headers().contains_key("access-control-allow-origin")
        );
        let found = response.status().as_u16();
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (found, problem["code"].as_str().unwrap(), problem["instance"].as_str().unwrap()),
            (status, code, path)
        );
        assert_eq!(problem["status"], found, "the body says what the status line says");
        assert!(!problem.to_string().contains("vault"), "{problem}");
    }
}

/// Who left while a transaction began left its connection inside it: reads stood still, and writes were lost.
#[tokio::test]
async fn a_client_that_leaves_at_any_moment_leaves_no_transaction_behind() {
    let app = TestApp::with_samples().await;
    let address = app.address.trim_start_matches("http://").to_owned();
    for number in 0..600_u64 {
        let path = ["/search?q=model", "/terms?category=training", "/categories/training"]
            [usize::try_from(number % 3).unwrap()];
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
        // Each a little later than the one before, so that some leave at each moment.
        tokio::time::sleep(Duration::from_micros(number * 5)).await;
        drop(stream);
    }
    let mut connection = app.database.connect().await;
    let open = "select count(*) from pg_stat_activity
                 where datname = current_database() and state like 'idle in transaction%' and pid <> pg_backend_pid()";
    let closing = async { while sqlx::query_scalar::<_, i64>(open).fetch_one(&mut connection).await.unwrap() > 0 {} };
    tokio::time::timeout(Duration::from_secs(20), closing).await.expect("no transaction is open without a request");
    for path in READS {
        assert_eq!(app.get(path).await.status, 200, "{path}");
    }
}
