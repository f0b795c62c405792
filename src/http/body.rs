//! Reading a request's body: JSON of a bounded size, with every mistake that no `Value` could show any more.
//!
//! `serde_json` alone keeps the last of two members with one name, and lets null bytes through, which Postgres does not
//! take. So the body is walked once while it is parsed, and each of them is a fault at its place.

use std::collections::BTreeSet;

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    body::{BodyStream, to_bytes_limited},
    dev::Payload,
    http::{Method, header},
    web::Bytes,
};
use futures_util::future::{FutureExt, LocalBoxFuture};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{Error, FAULTS_MAX, Fault};

/// The largest body that is read.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

const JSON: &str = "application/json";
/// RFC 7396.
const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON_OR_MERGE_PATCH: &str = "application/merge-patch+json, application/json";

/// A long name with a thousand faults below it would make an answer of a thousand times its length.
const POINTERS_MAX_BYTES: usize = 64 * 1024;

/// The body of a request that must have one.
#[derive(Debug)]
pub struct Body {
    pub value: Value,
    /// The body as it came: what an `Idempotency-Key` is bound to.
    pub bytes: Bytes,
}

impl FromRequest for Body {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let checked = check_length(request).and_then(|()| check_type(request));
        let payload = payload.take();
        // A body that is not read, or not to its end, is drained by actix, or the connection closed after the answer.
        async move {
            checked?;
            Body::parse(read(payload).await?)
        }
        .boxed_local()
    }
}

/// The body of a request that may have one; `None` where it is absent or empty.
#[derive(Debug)]
pub struct OptionalBody(pub Option<Body>);

impl FromRequest for OptionalBody {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (length, kind) = (check_length(request), check_type(request));
        let payload = payload.take();
        async move {
            length?;
            let bytes = read(payload).await?;
            if bytes.is_empty() {
                return Ok(OptionalBody(None));
            }
            kind?;
            Ok(OptionalBody(Some(Body::parse(bytes)?)))
        }
        .boxed_local()
    }
}

impl Body {
    /// Reads the bytes as one JSON value, with all its faults at once.
    ///
    /// # Errors
    /// [`Error::BadRequest`] with the code `syntax`, `duplicate_member` or `null_byte` at each place.
    pub fn parse(bytes: Bytes) -> Result<Self, Error> {
        let mut walk = Walk::default();
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let parsed = walk.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
        match parsed {
            Ok(value) if walk.faults.is_empty() => Ok(Body { value, bytes }),
            Ok(_) => Err(Error::BadRequest(walk.faults)),
            Err(error) => {
                // First, because the others may follow from it.
                walk.faults.insert(0, Fault::body("", "syntax", syntax(&error)));
                Err(Error::BadRequest(walk.faults))
            }
        }
    }
}

/// A length that is announced is refused before anything is read.
fn check_length(request: &HttpRequest) -> Result<(), Error> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length > BODY_MAX_BYTES => Err(Error::ContentTooLarge(BODY_MAX_BYTES)),
        // actix-http refuses what is no number, and reads no further than the number that it found.
        _ => Ok(()),
    }
}

/// JSON, in UTF-8, uncompressed: a bomb can't be sent, and the bytes are what the fingerprint is made of.
fn check_type(request: &HttpRequest) -> Result<(), Error> {
    let patch = request.method() == Method::PATCH;
    let accepted = if patch { JSON_OR_MERGE_PATCH } else { JSON };
    let headers = request.headers();
    let plain = headers.get_all(header::CONTENT_ENCODING).all(|codings| {
        codings.to_str().is_ok_and(|codings| codings.split(',').all(|it| it.trim().eq_ignore_ascii_case("identity")))
    });
    // Two types say nothing for certain.
    let single = headers.get_all(header::CONTENT_TYPE).count() == 1;
    let json = request.mime_type().ok().flatten().is_some_and(|kind| {
        let known = kind.essence_str() == JSON || (patch && kind.essence_str() == MERGE_PATCH);
        known && kind.params().all(|(name, value)| name != "charset" || value == "utf-8")
    });
    if plain && single && json { Ok(()) } else { Err(Error::UnsupportedMediaType { accepted }) }
}

async fn read(payload: Payload) -> Result<Bytes, Error> {
    match to_bytes_limited(BodyStream::new(payload), BODY_MAX_BYTES).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let detail = format!("The body did not come to its end ({error}): send all of it.");
            Err(Error::BadRequest(vec![Fault::body("", "syntax", detail)]))
        }
        Err(_) => Err(Error::ContentTooLarge(BODY_MAX_BYTES)),
    }
}

/// What is wrong, where, and what would pass.
fn syntax(error: &serde_json::Error) -> String {
    format!(
        "The body can't be read as JSON, {error}: send one JSON value (RFC 8259) in UTF-8, without a byte order mark, \
         nested at most 127 deep, with numbers that a double holds."
    )
}

/// Makes a `Value` as `serde_json` does, and collects what that would hide.
#[derive(Default)]
struct Walk {
    /// Of the place that is being read (RFC 6901).
    pointer: String,
    faults: Vec<Fault>,
    pointers_bytes: usize,
}

impl Walk {
    fn fault(&mut self, code: &str, detail: &str) {
        self.pointers_bytes += self.pointer.len();
        let room = self.faults.len() < FAULTS_MAX && self.pointers_bytes <= POINTERS_MAX_BYTES;
        // The first is kept whatever its length, so that no fault passes.
        if room || self.faults.is_empty() {
            self.faults.push(Fault::body(self.pointer.clone(), code, detail));
        }
    }

    /// Reads what stands below the pointer's next token with `read`.
    fn below<T>(&mut self, token: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
        let read = read(self);
        self.pointer.truncate(length);
        read
    }
}

impl<'de> DeserializeSeed<'de> for &mut Walk {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Walk {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        if value.contains('\0') {
            self.fault("null_byte", "A null byte can't stand in a string; leave it out.");
        }
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = self.below(&list.len().to_string(), |walk| items.next_element_seed(walk))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        // Each name is one fault, however often it is repeated.
        let mut repeated = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = self.below(&name, |walk| {
                if map.contains_key(&name) && repeated.insert(name.clone()) {
                    walk.fault("duplicate_member", "The member stands more than once in its object; leave it once.");
                }
                if name.contains('\0') {
                    walk.fault("null_byte", "A null byte can't stand in a member's name; leave it out.");
                }
                members.next_value_seed(walk)
            })?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn faults(body: &[u8]) -> Vec<(String, String)> {
        match Body::parse(Bytes::copy_from_slice(body)) {
            Err(Error::BadRequest(faults)) => {
                faults.into_iter().map(|fault| (fault.pointer.unwrap(), fault.code)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    async fn extract(request: TestRequest) -> Result<Body, Error> {
        let (request, mut payload) = request.to_http_parts();
        Body::from_request(&request, &mut payload).await
    }

    #[test]
    fn every_repeated_member_and_null_byte_is_named_by_its_place() {
        let body = br#"{"a": 1, "a": "\u0000", "a": 2, "l": [{"x": 1}, {"x/y~": [], "x/y~": {"\u0000": "\u0000"}}], "": "a\u0000"}"#;
        let expected = [
            ("/a", "duplicate_member"),
            ("/a", "null_byte"),
            ("/l/1/x~1y~0", "duplicate_member"),
            ("/l/1/x~1y~0/\0", "null_byte"),
            ("/l/1/x~1y~0/\0", "null_byte"),
            ("/", "null_byte"),
        ];
        let found = faults(body);
        assert_eq!(found.iter().map(|(p, c)| (p.as_str(), c.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_no_json_is_one_fault_with_line_and_column() {
        let deep = "[".repeat(200);
        let bodies: [&[u8]; 14] = [
            b"",
            b" \n",
            b"{",
            b"{\"a\":1,}",
            b"{} {}",
            b"nul",
            b"NaN",
            b"1e999",
            b"\"\xff\"",
            b"\xff",
            b"\xef\xbb\xbf{}",
            b"\"\\ud800\"",
            b"\"\0\"",
            deep.as_bytes(),
        ];
        for body in bodies {
            let Err(Error::BadRequest(faults)) = Body::parse(Bytes::copy_from_slice(body)) else {
                panic!("{body:?} was read")
            };
            let [fault] = faults.as_slice() else { panic!("{faults:?}") };
            assert_eq!((fault.pointer.as_deref(), fault.code.as_str()), (Some(""), "syntax"));
            assert!(fault.detail.contains(" at line ") && fault.detail.contains(": send "), "{}", fault.detail);
        }
        assert_eq!(
            faults(b"{\"a\":1,\"a\":"),
            [(String::new(), "syntax".into()), ("/a".into(), "duplicate_member".into())]
        );
    }

    #[test]
    fn a_hostile_body_does_not_make_a_larger_answer() {
        let many = format!("[{}]", vec!["\"\\u0000\""; 100_000].join(","));
        assert_eq!(faults(many.as_bytes()).len(), FAULTS_MAX);
        let long = format!("{{\"{}\":[{}]}}", "n".repeat(500_000), vec!["\"\\u0000\""; 50_000].join(","));
        assert_eq!(faults(long.as_bytes()).len(), 1);
    }

    #[actix_web::test]
    async fn json_in_utf_8_alone_is_read() {
        use Method as M;
        type Case<'c> = (M, &'c [(&'c str, &'c str)], bool);
        let cases: [Case<'_>; 18] = [
            (M::POST, &[("content-type", "application/json")], true),
            (M::POST, &[("content-type", "Application/JSON; Charset=\"UTF-8\"")], true),
            (M::POST, &[("content-type", "application/json; profile=x")], true),
            (M::POST, &[("content-type", "application/json; charset=latin1")], false),
            (M::POST, &[("content-type", "application/json; charset=utf-8; charset=utf-16")], false),
            (M::POST, &[("content-type", "application/merge-patch+json")], false),
            (M::PUT, &[("content-type", "application/merge-patch+json")], false),
            (M::PATCH, &[("content-type", "application/merge-patch+json;charset=utf-8")], true),
            (M::PATCH, &[("content-type", "application/json")], true),
            (M::PATCH, &[("content-type", "application/json-patch+json")], false),
            (M::POST, &[("content-type", "text/plain")], false),
            (M::POST, &[("content-type", "application/x-www-form-urlencoded")], false),
            (M::POST, &[("content-type", "")], false),
            (M::POST, &[], false),
            (M::POST, &[("content-type", "application/json"), ("content-type", "text/plain")], false),
            (M::POST, &[("content-type", "application/json"), ("content-encoding", "identity")], true),
            (M::POST, &[("content-type", "application/json"), ("content-encoding", "gzip")], false),
            (M::POST, &[("content-type", "application/json"), ("content-encoding", "identity, br")], false),
        ];
        for (method, headers, read) in cases {
            let mut request = TestRequest::default().method(method.clone()).set_payload("{\"a\": 1}");
            for header in headers {
                request = request.append_header(*header);
            }
            match extract(request).await {
                Ok(body) => assert!(read && body.value == json!({"a": 1}) && body.bytes == "{\"a\": 1}", "{headers:?}"),
                Err(Error::UnsupportedMediaType { accepted }) => {
                    assert!(!read, "{headers:?}");
                    assert_eq!(accepted.contains(MERGE_PATCH), method == M::PATCH);
                }
                Err(error) => panic!("{headers:?}: {error:?}"),
            }
        }
    }

    #[actix_web::test]
    async fn a_body_beyond_the_limit_is_refused_by_its_length() {
        let json = || TestRequest::post().append_header(("content-type", "application/json"));
        let most = format!("\"{}\"", "x".repeat(BODY_MAX_BYTES - 2));
        assert_eq!(extract(json().set_payload(most.clone())).await.unwrap().bytes, most);
        for request in [
            json().set_payload(format!("{most} ")),
            json().set_payload("{}").insert_header(("content-length", BODY_MAX_BYTES + 1)),
        ] {
            assert!(matches!(extract(request).await, Err(Error::ContentTooLarge(BODY_MAX_BYTES))));
        }
    }

    #[actix_web::test]
    async fn an_optional_body_needs_a_type_only_where_it_is_there() {
        for (body, read) in [("", Some(None)), ("{}", None)] {
            let (request, mut payload) = TestRequest::put().set_payload(body).to_http_parts();
            let optional = OptionalBody::from_request(&request, &mut payload).await;
            assert_eq!(optional.ok().map(|optional| optional.0.map(|body| body.value)), read);
        }
        let request = TestRequest::put().append_header(("content-type", "application/json")).set_payload("{}");
        let (request, mut payload) = request.to_http_parts();
        let optional = OptionalBody::from_request(&request, &mut payload).await.unwrap();
        assert_eq!(optional.0.unwrap().value, json!({}));
    }

    /// A client that sends all of its body before it reads must not find the connection reset.
    #[actix_web::test]
    async fn who_sends_too_much_still_reads_the_answer() {
        use actix_web::{App, HttpServer, web};
        use std::io::{Read, Write};
        let server = HttpServer::new(|| App::new().default_service(web::to(async |_: Body| "read")));
        let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let address = *server.addrs().first().unwrap();
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let body = "x".repeat(4 * BODY_MAX_BYTES);
        let announced = format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let typed = "Content-Type: application/json\r\n";
        for (head, body, status) in [(typed, &announced, 413), (typed, &chunked, 413), ("", &chunked, 415)] {
            let request = format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}{body}");
            let answer = web::block(move || {
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                stream.write_all(request.as_bytes()).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            });
            let answer = answer.await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
        handle.stop(false).await;
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[^\0]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[^\0]{0,4}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_serde_json_reads(value in any_json()) {
            let text = value.to_string();
            let expected: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(Body::parse(text.into()).unwrap().value, expected);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let parsed = Body::parse(bytes.clone().into()).is_ok();
            prop_assert!(!parsed || serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }
}
