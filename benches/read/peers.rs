//! The peers that have no database: what any server on this framework costs, and what looking ready bytes up costs.

use std::{collections::HashMap, fs, net::TcpListener, path::Path};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::{Server as ActixServer, ServiceFactory, ServiceRequest},
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    web::{self, Bytes, Data},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::server::{Server, WORKERS};

/// An answer of the service's, to be given by a peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    pub address: String,
    pub status: u16,
    /// All that the service sent, but for what the framework adds to any answer by itself, and the request's id.
    pub headers: Vec<(String, String)>,
    /// In base 64: it may be compressed.
    pub body: String,
}

impl Kept {
    /// Asks for it.
    pub async fn fetch(client: &reqwest::Client, server: &Server, address: &str, coding: &str) -> Self {
        let request = client.get(server.url(address)).header("Accept-Encoding", coding);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{address}");
        let by_itself = ["content-length", "date", "connection", "x-request-id"];
        let headers = response.headers().iter().filter(|(name, _)| !by_itself.contains(&name.as_str()));
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let body = BASE64_STANDARD.encode(response.bytes().await.unwrap());
        Kept { address: address.to_owned(), status: 200, headers, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn tag(&self) -> &str {
        self.header("etag").unwrap()
    }

    pub fn length(&self) -> usize {
        self.bytes().len()
    }

    fn bytes(&self) -> Bytes {
        BASE64_STANDARD.decode(&self.body).unwrap().into()
    }
}

/// Starts a peer on what it is to give.
pub fn start(word: &str, folder: &Path, kept: &[Kept]) -> Server {
    let path = folder.join(format!("{word}.json"));
    fs::write(&path, serde_json::to_vec(kept).unwrap()).unwrap();
    Server::peer(&[word, path.to_str().unwrap()])
}

/// Constant bytes by address.
type Constants = HashMap<String, (StatusCode, Bytes)>;

/// `serve-ceiling`: constant bytes, with the two headers that any answer has, and a type. An answer of a 304 has a tag
/// instead.
pub async fn serve_ceiling(path: &str) {
    let constants: Constants = read(path)
        .into_iter()
        .map(|kept| (kept.address.clone(), (StatusCode::from_u16(kept.status).unwrap(), kept.bytes())))
        .collect();
    let constants = Data::new(constants);
    serve(move || App::new().app_data(constants.clone()).default_service(web::to(constant))).await;
}

async fn constant(request: HttpRequest, constants: Data<Constants>) -> HttpResponse {
    match constants.get(request.path()) {
        Some((StatusCode::NOT_MODIFIED, _)) => {
            HttpResponse::NotModified().insert_header((header::ETAG, "\"1\"")).finish()
        }
        Some((status, bytes)) => {
            let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            HttpResponse::build(*status).insert_header(json).body(bytes.clone())
        }
        None => HttpResponse::NotFound().finish(),
    }
}

/// An answer that is ready to go.
struct Ready {
    /// Those of a 304, then those that only a body has.
    headers: Vec<(HeaderName, HeaderValue)>,
    of_body: Vec<(HeaderName, HeaderValue)>,
    tag: HeaderValue,
    bytes: Bytes,
}

/// By address, without and with br.
type Shelf = HashMap<String, [Option<Ready>; 2]>;

/// `serve-lookup`: ready bytes by address, with the very headers that the service sends, a fresh id for each request, and
/// `If-None-Match`. No router, no limits, no freshness: what remains is the look-up.
pub async fn serve_lookup(path: &str) {
    let mut shelf = Shelf::new();
    for kept in read(path) {
        let parsed = kept
            .headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()));
        let is_of_body = |name: &HeaderName| [header::CONTENT_TYPE, header::CONTENT_ENCODING].contains(name);
        let (of_body, headers) = parsed.partition(|(name, _)| is_of_body(name));
        let tag = HeaderValue::from_str(kept.tag()).unwrap();
        let coded = usize::from(kept.header("content-encoding").is_some());
        let ready = Ready { headers, of_body, tag, bytes: kept.bytes() };
        shelf.entry(kept.address).or_default()[coded] = Some(ready);
    }
    let shelf = Data::new(shelf);
    serve(move || App::new().app_data(shelf.clone()).default_service(web::to(look_up))).await;
}

async fn look_up(request: HttpRequest, shelf: Data<Shelf>) -> HttpResponse {
    let accepted = request.headers().get(header::ACCEPT_ENCODING).map(HeaderValue::as_bytes).unwrap_or_default();
    let coded = usize::from(accepted.windows(2).any(|word| word == b"br"));
    let address = request.uri().path_and_query().map_or("/", |address| address.as_str());
    let Some(ready) = shelf.get(address).and_then(|codings| codings[coded].as_ref()) else {
        return HttpResponse::NotFound().finish();
    };
    let known = request.headers().get(header::IF_NONE_MATCH) == Some(&ready.tag);
    let mut response = HttpResponse::new(if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    let of_body = ready.of_body.iter().filter(|_| !known);
    for (name, value) in ready.headers.iter().chain(of_body) {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    if let Ok(id) = HeaderValue::from_str(&Uuid::now_v7().to_string()) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    }
    if known { response } else { response.set_body(bytes_of(ready)).map_into_boxed_body() }
}

fn bytes_of(ready: &Ready) -> Bytes {
    ready.bytes.clone()
}

fn read(path: &str) -> Vec<Kept> {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The server's settings are those of `app::serve`.
pub async fn serve<T, F>(app: F)
where
    F: Fn() -> App<T> + Send + Clone + 'static,
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = actix_web::dev::ServiceResponse,
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("listens on http://{}", listener.local_addr().unwrap());
    let server = HttpServer::new(app).h1_allow_half_closed(false).workers(WORKERS).disable_signals();
    let running: ActixServer = server.listen(listener).unwrap().run();
    running.await.unwrap();
}
