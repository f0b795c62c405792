//! The harness: one private cluster for all tests of a clone, by the product's own supervisor; a database for each test;
//! the product's own app on a port of its own.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_web::{dev::ServerHandle, http::header::HeaderValue, web::Data};
use reqwest::{Method, StatusCode, header::HeaderMap};
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{Connection, PgConnection, PgPool, postgres::PgConnectOptions};
use termbase::{
    app,
    clock::Clock,
    editorial::{self, Applied, Edit, Target},
    error::Error,
    postgres::{
        self,
        cluster::{Cluster, Options},
    },
    samples,
    site::{SiteSettings, TermUrl},
    state::{HttpSettings, Origins, State},
    tokens::{self, Author, Role, TokenCreate},
};
use time::macros::datetime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

/// The product's binary, built for this test run.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_termbase");

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The cluster of this clone: under the system's temporary folder, so that a clone in a closed folder works too.
pub fn cluster() -> &'static Cluster {
    CLUSTER.get_or_init(|| {
        let options = Options {
            program: PROGRAM.into(),
            data_dir: std::env::temp_dir()
                .join(format!("termbase-tests-{:016x}", fingerprint(env!("CARGO_MANIFEST_DIR").as_bytes()))),
            bin_dir: std::env::var_os("PG_BIN_DIR").map(PathBuf::from),
            path: std::env::var_os("PATH"),
            cache_dir: std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")),
            linger: Duration::from_secs(5),
        };
        // A plain thread: attaching blocks.
        std::thread::spawn(move || Cluster::attach(&options, &mut |line| eprintln!("{line}")).unwrap()).join().unwrap()
    })
}

/// Every document of the glossary that the tests work on, in `tests/glossary`. The product's own, in `samples`, is for its
/// editors to change: no other test depends on what it says than those that read its files.
pub fn glossary() -> Vec<Edit> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/glossary");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    // Ids count up in the order of the documents, and examples show ids.
    files.sort();
    let named = |path: PathBuf| (path.display().to_string(), std::fs::read_to_string(&path).unwrap());
    samples::read(files.into_iter().map(named)).unwrap()
}

/// A number from the environment, for a longer run by hand.
pub fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// FNV-1a: names folders and databases; `std`'s hashers may differ from build to build.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

pub fn options(database: &str) -> PgConnectOptions {
    cluster().url(database).parse().unwrap()
}

/// A clock that moves a second a look, and random bits that count: what one writer makes is the same in each run.
/// An app's clock begins an hour after the one that the glossary was loaded by: else their ids would come again.
pub fn clock() -> Clock {
    clock_from(datetime!(2026-11-24 13:00 UTC))
}

fn clock_from(start: time::OffsetDateTime) -> Clock {
    let (looks, numbers) = (AtomicU64::new(0), AtomicU64::new(0));
    Clock::new(
        move || start + Duration::from_micros(looks.fetch_add(1, Ordering::Relaxed)),
        move || {
            let mut bytes = [0; 10];
            bytes[2..].copy_from_slice(&numbers.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            bytes
        },
    )
}

pub fn http_settings() -> HttpSettings {
    HttpSettings {
        cache_control: HeaderValue::from_static("public, max-age=0, s-maxage=60"),
        surrogate_keys: true,
        write_origins: Origins::These(Vec::new()),
        require_if_match: false,
        site: SiteSettings { term_url: TermUrl::parse("https://example.org/glossary/{slug}"), name: "Glossary".into() },
        cache_bytes: 16 * 1024 * 1024,
        changes_kept: Duration::from_hours(90 * 24),
        // Many tests share the machine: what is slow is not away.
        patience: Duration::from_secs(15),
        request_timeout: Duration::from_secs(40),
        drain_timeout: Duration::from_secs(1),
        workers: 1,
    }
}

/// What a database begins with.
#[derive(Debug, Clone, Copy)]
pub enum Content {
    Nothing,
    /// The glossary of the tests, [`glossary`].
    Samples,
}

/// A database of its own, dropped with it.
pub struct Database {
    pub name: String,
}

impl Database {
    /// Copies a template that the first test to need it makes.
    pub async fn create(content: Content) -> Self {
        let template = template(content).await;
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        admin(&format!("drop database if exists {name}")).await.unwrap();
        admin(&format!("create database {name} template {template} strategy file_copy")).await.unwrap();
        Database { name }
    }

    /// One without tables.
    pub async fn bare(encoding: &str) -> Self {
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        admin(&format!("drop database if exists {name}")).await.unwrap();
        admin(&format!("create database {name} template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'"))
            .await
            .unwrap();
        Database { name }
    }

    pub fn options(&self) -> PgConnectOptions {
        options(&self.name)
    }

    pub fn url(&self) -> String {
        cluster().url(&self.name)
    }

    /// Out of reach, as a database is that is gone: connections are cut, new ones refused.
    pub async fn close(&self) {
        let name = &self.name;
        admin(&format!("alter database {name} with allow_connections false")).await.unwrap();
        let mut connection = PgConnection::connect_with(&options("postgres")).await.unwrap();
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
            .bind(name)
            .execute(&mut connection)
            .await
            .unwrap();
    }

    pub async fn open(&self) {
        admin(&format!("alter database {} with allow_connections true", self.name)).await.unwrap();
    }

    /// Does something behind the log's back, which no product ever does: only what is kept does not show it.
    pub async fn behind(&self, statements: &str) {
        let mark = "begin; select set_config('termbase.write', pg_current_xact_id()::text, true);";
        let mut connection = self.connect().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("{mark} {statements}; commit")))
            .execute(&mut connection)
            .await
            .unwrap();
    }

    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&self.options()).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let statement = format!("drop database if exists {} with (force)", self.name);
        // On a thread with a runtime of its own: this one may be ending.
        let dropped = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(admin(&statement))
        });
        let _ = dropped.join();
    }
}

async fn admin(statement: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(&options("postgres")).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await
}

/// A migrated database to copy, made once for what the migrations and the glossary are now.
async fn template(content: Content) -> String {
    let migrations: Vec<_> = sqlx::migrate!().iter().map(|migration| migration.checksum.to_vec()).collect();
    let stamp = fingerprint(format!("{:?}{migrations:?}", glossary()).as_bytes());
    let name = match content {
        Content::Nothing => format!("template_{stamp:016x}_empty"),
        Content::Samples => format!("template_{stamp:016x}_samples"),
    };
    let mut connection = PgConnection::connect_with(&options("postgres")).await.unwrap();
    // Other test processes want the same; the lock ends with the connection.
    sqlx::query("select pg_advisory_lock(hashtext($1))").bind(&name).execute(&mut connection).await.unwrap();
    let made: bool = sqlx::query_scalar("select exists(select from pg_database where datname = $1)")
        .bind(&name)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    if !made {
        let draft = format!("{name}_draft");
        admin(&format!("drop database if exists {draft} with (force)")).await.unwrap();
        admin(&format!("create database {draft}")).await.unwrap();
        postgres::migrate(&options(&draft)).await.unwrap();
        if let Content::Samples = content {
            let pool = postgres::pool(options(&draft), 2, Duration::from_secs(15));
            let log_id = postgres::log_id(&pool).await.unwrap();
            let clock = clock_from(datetime!(2026-11-24 12:00 UTC));
            let state = State::new(pool.clone(), clock, http_settings(), log_id);
            samples::load(&state, glossary()).await.unwrap();
            pool.close().await;
        }
        admin(&format!("alter database {draft} rename to {name}")).await.unwrap();
    }
    name
}

/// A client that follows nothing by itself.
pub fn client() -> reqwest::Client {
    // It may be there already: one for the whole process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The server closes a connection that was idle for five seconds; a request that meets the closing fails.
    let idle = Duration::from_secs(1);
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.pool_idle_timeout(idle).build().unwrap()
}

/// The product, answering on a port of its own.
pub struct TestApp {
    pub state: Data<State>,
    pub address: String,
    pub client: reqwest::Client,
    pub database: Arc<Database>,
    pool: PgPool,
    server: ServerHandle,
}

impl TestApp {
    /// With nothing in it.
    pub async fn empty() -> Self {
        TestApp::start(Content::Nothing, http_settings()).await
    }

    /// With the glossary of the tests.
    pub async fn with_samples() -> Self {
        TestApp::start(Content::Samples, http_settings()).await
    }

    pub async fn start(content: Content, http: HttpSettings) -> Self {
        TestApp::serve(Database::create(content).await, http, 3).await
    }

    /// On a database that was made before, with a pool of so many connections.
    pub async fn serve(database: Database, http: HttpSettings, connections: u32) -> Self {
        TestApp::on(Arc::new(database), http, connections).await
    }

    /// Another instance on the same database.
    pub async fn beside(&self) -> Self {
        TestApp::on(self.database.clone(), self.state.http.clone(), 3).await
    }

    async fn on(database: Arc<Database>, http: HttpSettings, connections: u32) -> Self {
        let pool = postgres::pool(database.options(), connections, http.patience);
        let log_id = postgres::log_id(&pool).await.unwrap();
        let state = Data::new(State::new(pool.clone(), clock(), http, log_id));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = app::serve(state.clone(), listener).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        let app = TestApp { state, address, client: client(), database, pool, server: handle };
        // What asks for the log before it is followed is refused after a second, which a busy machine may take.
        while app.get("/readyz").await.status != StatusCode::OK {}
        app
    }

    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, &[]).await
    }

    pub async fn request(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    /// The same with a token and a body of JSON, where there are any.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        match body {
            // Lines, for what takes NDJSON.
            Some(Value::String(lines)) => {
                request = request.header("content-type", "application/x-ndjson").body(lines.clone());
            }
            Some(body) => request = request.json(body),
            None => {}
        }
        Answer::of(request.send().await.unwrap()).await
    }

    /// The secret of a new token.
    pub async fn token(&self, role: Role) -> String {
        let wanted = TokenCreate { name: format!("test {role}"), role, expires_at: None };
        tokens::create(&self.state, wanted).await.unwrap().1.expose_secret().to_owned()
    }

    /// A request as its very bytes, up to the empty line; `Connection: close` is added. For what no client would send.
    pub async fn raw(&self, head: &str) -> Answer {
        let mut stream = tokio::net::TcpStream::connect(self.address.trim_start_matches("http://")).await.unwrap();
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let end =
            bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_else(|| panic!("no answer to {head}"));
        let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = text.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse().unwrap(), value.parse().unwrap())
        });
        Answer { status, headers: headers.collect::<HeaderMap>(), bytes: bytes[end + 4..].to_vec() }
    }

    /// Writes documents as new entities, through the one write.
    pub async fn write(&self, edits: Vec<Edit>) -> Result<Vec<Applied>, Error> {
        let author = Author::program("tests");
        let (applied, _) =
            editorial::write(&self.state, &author, None, async |write| write.apply(edits.clone()).await).await?;
        Ok(applied)
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.state.unfollow();
        // The database goes with us: its connections are cut, whether the server has ended or not.
        drop(self.server.stop(false));
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub async fn of(mut response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        // A stream has no end: its first piece stands for it.
        let is_stream = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let bytes = if is_stream {
            response.chunk().await.unwrap().unwrap_or_default()
        } else {
            response.bytes().await.unwrap()
        };
        Answer { status, headers, bytes: bytes.to_vec() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&self.bytes)))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).to_str().unwrap()
    }

    /// The keys that the answer was made from.
    pub fn keys(&self) -> Vec<String> {
        self.header("surrogate-key").split(' ').map(ToOwned::to_owned).collect()
    }

    /// Asserts a problem of this status and code, complete, and returns it.
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!((self.status.as_u16(), problem["code"].as_str().unwrap()), (status, code), "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("/problems/{code}"));
        for list in ["errors", "suggestions", "conflicts"] {
            assert!(problem[list].is_array(), "{problem}");
        }
        problem
    }
}

/// A new term from its document.
pub fn term(document: &Value) -> Edit {
    Edit::Term(Target::New, termbase::terms::TermDocument::parse(document).unwrap())
}

/// A new document for a term that there is.
pub fn term_again(id: Uuid, document: &Value) -> Edit {
    Edit::Term(Target::Existing(id), termbase::terms::TermDocument::parse(document).unwrap())
}

pub fn category(document: &Value) -> Edit {
    Edit::Category(Target::New, termbase::categories::CategoryDocument::parse(document).unwrap())
}

pub fn category_again(id: Uuid, document: &Value) -> Edit {
    Edit::Category(Target::Existing(id), termbase::categories::CategoryDocument::parse(document).unwrap())
}

pub fn company(document: &Value) -> Edit {
    Edit::Company(Target::New, termbase::companies::CompanyDocument::parse(document).unwrap())
}

pub fn company_again(id: Uuid, document: &Value) -> Edit {
    Edit::Company(Target::Existing(id), termbase::companies::CompanyDocument::parse(document).unwrap())
}
