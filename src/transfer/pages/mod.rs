//! The public glossary as files: what the service answers to everyone, for a CDN or a place without a network, with an
//! `nginx.conf` that serves them at the same addresses.
//!
//! Nothing is rendered a second time. The app itself is asked for each address, in this process, on connections that all
//! see one state of the database: so the files belong together, whatever is written meanwhile.

mod folder;
mod nginx;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use actix_web::{
    HttpResponse,
    body::to_bytes,
    dev::ServiceResponse,
    http::{
        StatusCode,
        header::{self, HeaderName},
    },
    web::Data,
};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, postgres::PgPoolOptions};

use self::folder::Folder;
use crate::{
    app,
    changes::Position,
    clock::Clock,
    error::{Error, PROBLEMS},
    http::answer::TERMBASE_POSITION,
    postgres,
    state::State,
};

/// How many addresses are asked for at a time, each on a connection of its own.
const READERS: u32 = 4;
/// How long an answer may wait for its connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was written.
pub struct Written {
    /// The place in the log that all of it shows.
    pub position: Position,
    pub pages: usize,
    /// Former slugs and ids, which lead on.
    pub moved: usize,
    pub gone: usize,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum PagesError {
    #[error(
        "{} is there already, and no earlier export (it has no termbase.json). Name a folder that is not there yet, or remove this one.", .0.display()
    )]
    Foreign(PathBuf),
    #[error("{} can't be written: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Failed(#[from] Error),
    #[error("{address} was answered by {status}, of which no file can be made; the log may say why")]
    Unexpected { address: String, status: StatusCode },
    #[error(
        "an nginx.conf can't hold TERMBASE_CACHE_CONTROL as it is, because of its $ or what is no ASCII; choose another"
    )]
    Unquotable,
}

impl PagesError {
    fn file(path: &Path, source: io::Error) -> Self {
        PagesError::File { path: path.to_owned(), source }
    }
}

impl From<sqlx::Error> for PagesError {
    fn from(error: sqlx::Error) -> Self {
        PagesError::Failed(error.into())
    }
}

/// Writes all public pages into `folder`, in place of an earlier export. `tell` hears how many addresses were asked, of
/// how many that are known so far.
///
/// # Errors
/// Something else at `folder`; a database or a file system that fails. What was there before stays as it is.
pub async fn write(state: &State, folder: &Path, tell: &mut dyn FnMut(usize, usize)) -> Result<Written, PagesError> {
    let folder = Folder::begin(folder)?;
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let position = state.position(postgres::position(&mut snapshot).await?);
    let mut waiting = VecDeque::from(addresses(state, &mut snapshot).await?);
    let pool = frozen(&state.database(), &mut snapshot).await?;
    let frozen = Data::new(State::new(pool, Clock::system(), state.http.clone(), state.followed.log_id()));
    let ask = app::in_process(frozen.clone()).await;
    let mut copy = Copy::default();
    let (mut asked, mut answers) = (waiting.len(), FuturesUnordered::new());
    loop {
        while answers.len() < READERS as usize
            && let Some(address) = waiting.pop_front()
        {
            answers.push(answer(&ask, &folder, position, address));
        }
        let Some(answer) = answers.next().await else { break };
        let more = copy.take(answer?);
        asked += more.len();
        // First: the pages of a list have to wait for each other, and all else need not wait for them.
        more.into_iter().for_each(|address| waiting.push_front(address));
        tell(asked - waiting.len() - answers.len(), asked);
    }
    drop(answers);
    frozen.database().close().await;
    nginx::write(&folder, &state.http, position, &copy)?;
    let written = Written { position, pages: copy.pages, moved: copy.moved.len(), gone: copy.gone.len() };
    let about = json!({
        "termbase": env!("CARGO_PKG_VERSION"),
        "position": position.to_string(),
        "pages": written.pages,
        "moved": written.moved,
        "gone": written.gone,
    });
    folder.finish(&format!("{about:#}\n"))?;
    Ok(written)
}

/// What nginx has to know beside the files.
#[derive(Default)]
struct Copy {
    pages: usize,
    /// Where former slugs and ids lead.
    moved: BTreeMap<String, String>,
    gone: BTreeSet<String>,
    /// The files of addresses with a query.
    queries: BTreeMap<String, String>,
    /// `Link` of pages of lists.
    links: BTreeMap<String, String>,
}

impl Copy {
    /// Notes an answer; what it leads to is still to be asked for.
    fn take(&mut self, answer: Answer) -> Vec<String> {
        let Answer { address, outcome, more } = answer;
        match outcome {
            Outcome::Page { link } => {
                self.pages += 1;
                if let Some(link) = link {
                    self.links.insert(address.clone(), link);
                }
                if address.contains('?') {
                    let name = query_name(&address);
                    self.queries.insert(address, name);
                }
            }
            Outcome::Moved(location) => {
                self.moved.insert(address, location);
            }
            Outcome::Gone => {
                self.gone.insert(address);
            }
            Outcome::Nothing => {}
        }
        more
    }
}

/// What the app said to an address.
struct Answer {
    address: String,
    outcome: Outcome,
    more: Vec<String>,
}

enum Outcome {
    Page {
        link: Option<String>,
    },
    Moved(String),
    Gone,
    /// A former slug of a draft, say.
    Nothing,
}

/// Connections that see what `snapshot` sees, each from its first statement to its last.
async fn frozen(pool: &PgPool, snapshot: &mut PgConnection) -> Result<PgPool, sqlx::Error> {
    // It lasts as long as the export, and says nothing meanwhile.
    sqlx::raw_sql("set local idle_in_transaction_session_timeout = 0").execute(&mut *snapshot).await?;
    let id = sqlx::query_scalar!(r#"select pg_export_snapshot() as "id!""#).fetch_one(snapshot).await?;
    // A handler's own transaction ends the one that it is in, so each use begins with a new one. Inside it, the handler's
    // `begin` changes nothing; the warnings about both would only be noise.
    let begin = format!("rollback; begin isolation level repeatable read, read only; set transaction snapshot '{id}'");
    let again = begin.clone();
    let settings = "set client_min_messages = error; set idle_in_transaction_session_timeout = 0";
    Ok(PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(PATIENCE)
        .after_connect(move |connection, _| {
            let begin = begin.clone();
            Box::pin(async move {
                sqlx::raw_sql(settings).execute(&mut *connection).await?;
                sqlx::raw_sql(AssertSqlSafe(begin)).execute(connection).await?;
                Ok(())
            })
        })
        .before_acquire(move |connection, _| {
            let begin = again.clone();
            Box::pin(async move {
                sqlx::raw_sql(AssertSqlSafe(begin)).execute(connection).await?;
                Ok(true)
            })
        })
        .connect_lazy_with(pool.connect_options().as_ref().clone()))
}

/// Where to begin: what has a fixed address, and every slug and id under which something public is or was.
async fn addresses(state: &State, snapshot: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let fixed = ["/", "/terms", "/letters", "/categories", "/category-tree", "/companies"];
    let constant = ["/openapi.json", "/openapi-3.0.json"];
    let site = ["/sitemap.xml", "/feed.atom"].into_iter().filter(|_| state.http.site.term_url.is_some());
    let mut addresses: Vec<String> = fixed.into_iter().chain(constant).chain(site).map(ToOwned::to_owned).collect();
    addresses.extend(PROBLEMS.iter().map(|problem| format!("/problems/{}", problem.code)));
    let found = sqlx::query_scalar!(
        r#"
        select address as "address!"
          from (select case kind when 'term' then '/terms/' when 'category' then '/categories/' else '/companies/' end || slug
                  from slug_history where public
                union all
                select '/terms/' || id from terms where published_at is not null
                union all
                select '/categories/' || id from categories
                union all
                select '/companies/' || id from companies where published_at is not null) found (address)
         order by address
        "#
    )
    .fetch_all(snapshot)
    .await?;
    addresses.extend(found);
    Ok(addresses)
}

/// Asks the app for an address, and writes the file of what it answers.
async fn answer(
    ask: &impl AsyncFn(&str) -> Result<ServiceResponse, actix_web::Error>,
    folder: &Folder,
    position: Position,
    address: String,
) -> Result<Answer, PagesError> {
    let response = match ask(&address).await {
        Ok(response) => response.into_parts().1,
        Err(error) => error.error_response(),
    };
    let status = response.status();
    let seen = text(&response, TERMBASE_POSITION);
    if seen.is_some_and(|seen| seen != position.to_string()) {
        return Err(Error::internal("an answer is of another position than the export").into());
    }
    let outcome = match status {
        StatusCode::OK => return page(folder, address, response).await,
        StatusCode::PERMANENT_REDIRECT => text(&response, header::LOCATION).map(Outcome::Moved),
        StatusCode::GONE => Some(Outcome::Gone),
        StatusCode::NOT_FOUND => Some(Outcome::Nothing),
        _ => None,
    };
    match outcome {
        Some(outcome) => Ok(Answer { address, outcome, more: vec![] }),
        None => Err(PagesError::Unexpected { address, status }),
    }
}

async fn page(folder: &Folder, address: String, response: HttpResponse) -> Result<Answer, PagesError> {
    let (status, link) = (response.status(), text(&response, header::LINK));
    let content_type = text(&response, header::CONTENT_TYPE).unwrap_or_default();
    let Some(name) = file_name(&address, &content_type) else {
        return Err(PagesError::Unexpected { address, status });
    };
    let bytes = to_bytes(response.into_body()).await.map_err(|error| Error::internal(error.to_string()))?;
    let more = leads_to(&address, link.as_deref(), &bytes);
    folder.write_public(&name, bytes).await?;
    Ok(Answer { address, outcome: Outcome::Page { link }, more })
}

fn text(response: &HttpResponse, name: HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(ToOwned::to_owned)
}

/// The file of an address: its path, and the ending that nginx adds to find it. No list's file is in the folder of its
/// entities: any name there could be a slug.
fn file_name(address: &str, content_type: &str) -> Option<String> {
    let ending = match content_type {
        "application/json" => ".json",
        "application/ld+json" => ".jsonld",
        "application/xml" => ".xml",
        "application/atom+xml" => ".atom",
        "text/html; charset=utf-8" => ".html",
        _ => return None,
    };
    let path = address.trim_start_matches('/');
    Some(match path {
        "" => "index.json".to_owned(),
        _ if path.contains('?') => query_name(address) + ending,
        _ if path.ends_with(ending) => path.to_owned(),
        _ => path.to_owned() + ending,
    })
}

/// The file of an address with a query, without its ending. The name comes of the address alone, so that an nginx that has
/// not been told yet of a new export finds the right file, or none.
fn query_name(address: &str) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(address);
    format!("pages/{}", BASE64_URL_SAFE_NO_PAD.encode(digest.get(..12).unwrap_or(&digest)))
}

/// What a page names that is part of the copy as well: the next page, the rest of its lists, the other form of a term, and
/// the parts of a sitemap.
fn leads_to(address: &str, link: Option<&str>, bytes: &[u8]) -> Vec<String> {
    let next = link.and_then(|link| link.strip_prefix('<')?.split_once('>')).map(|(next, _)| next.to_owned());
    let mut more = Vec::from_iter(next);
    let is_of = |list: &str| address.strip_prefix(list).is_some_and(|slug| !slug.contains(['.', '?']));
    if is_of("/terms/") {
        more.push(format!("{address}.jsonld"));
    }
    if is_of("/terms/") || is_of("/categories/") || is_of("/companies/") {
        let page: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let rests = ["/terms/rest", "/companies/rest"].into_iter().filter_map(|rest| page.pointer(rest)?.as_str());
        more.extend(rests.map(ToOwned::to_owned));
    }
    if address == "/sitemap.xml" {
        let text = String::from_utf8_lossy(bytes);
        let parts = text.split("/sitemaps/").skip(1).filter_map(|part| part.split_once("</loc>"));
        more.extend(parts.map(|(part, _)| format!("/sitemaps/{part}")));
    }
    more
}
