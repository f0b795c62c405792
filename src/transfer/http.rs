//! `POST /import` and `GET /export`: the glossary in and out over HTTP, as NDJSON.

use std::{collections::BTreeMap, io::Write, sync::Arc, time::Duration};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse,
    body::{BodySize, MessageBody},
    dev::Payload,
    get,
    http::header::{self, HeaderValue},
    post,
    web::{Bytes, Data, Payload as Stream},
};
use futures_util::{
    StreamExt,
    future::{FutureExt, LocalBoxFuture},
};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    export::Export,
    import::{self, Format, ImportError, Plan, Progress, Report, Source},
};
use crate::{
    changes::{Keys, Seen},
    editorial::{Kind, Mistake, Mode, Outcome, What, edit},
    error::{Error, FAULTS_MAX, Fault},
    http::{
        answer::{Answer, TERMBASE_POSITION},
        auth::{Contributor, Viewer},
        precondition::IfMatch,
        query::Query,
    },
    openapi::{ExportErrors, ImportErrors, Routes, TAG_TRANSFER},
    state::State,
};

/// What NDJSON is called; the format has no registered type.
pub const NDJSON: &str = "application/x-ndjson";
/// The largest file that is taken over HTTP; the command line takes any.
pub const IMPORT_MAX_BYTES: usize = 256 * 1024 * 1024;
/// After this an import is given up.
pub const IMPORT_SECONDS: u64 = 900;
/// How many entities an answer names one by one.
const ITEMS_MAX: usize = 1_000;
/// How many parts of an export wait for a slow client.
const PARTS_AHEAD: usize = 2;

pub fn routes(routes: &mut Routes<'_>) {
    routes.service(import_glossary).service(export_glossary);
}

/// How many imports and exports may run at a time: each holds a connection, for as long as its client takes.
pub struct Turns(Arc<Semaphore>);

impl Turns {
    #[must_use]
    pub fn of(connections: usize) -> Self {
        Turns(Arc::new(Semaphore::new(connections)))
    }

    fn take(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.0.clone().try_acquire_owned().map_err(|_none_left| Error::TransferBusy)
    }
}

/// What an import has done, or with `dry_run` would do.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ImportReport {
    /// Whether nothing was written, because only that was asked for.
    pub dry_run: bool,
    pub counts: Vec<ImportCount>,
    /// What was made, changed, deleted or restored, in the order in which it was written: the first 1,000.
    pub items: Vec<ImportItem>,
    /// How many there are beside those of `items`.
    #[schema(minimum = 0, example = 0)]
    pub more: u64,
}

/// What became of the entities of one kind.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ImportCount {
    /// `term`, `category` or `company`; more may come.
    #[schema(example = "term")]
    pub kind: String,
    #[schema(minimum = 0, example = 1)]
    pub created: u64,
    #[schema(minimum = 0, example = 0)]
    pub updated: u64,
    #[schema(minimum = 0, example = 0)]
    pub deleted: u64,
    #[schema(minimum = 0, example = 0)]
    pub restored: u64,
    /// As they were: no version was made of them.
    #[schema(minimum = 0, example = 0)]
    pub unchanged: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ImportItem {
    /// `term`, `category` or `company`; more may come.
    #[schema(example = "term")]
    pub kind: String,
    #[schema(example = "state-space-model")]
    pub slug: String,
    /// `created`, `updated`, `deleted` or `restored`; more may come.
    #[schema(example = "created")]
    pub what: String,
    /// After it.
    #[schema(minimum = 1, example = 1)]
    pub version: i64,
}

/// Import
///
/// Brings a file of entities in as one write: all of it, or nothing where one line has a mistake; all mistakes are told, each
/// with its line. A line is `{"kind": "term", "document": {…}}`, or a line of an export. Which entity is meant is said by
/// `id`, else by the document's slug (a former one too), else by the slug that its name makes. References may lead forward.
/// A token may import what it may write: a contributor drafts, an editor everything; what a line says beside its document
/// (`id`, `version`, `deleted_at`, …), and revisions, are an admin's. Of an entity that is there already, its own numbers and
/// dates stay, and its history is never rewritten. To import the same file again changes nothing.
#[utoipa::path(
    operation_id = "import",
    tag = TAG_TRANSFER,
    params(
        ("mode" = inline(Option<Mode>), Query, description = "`create`: everything must be new. `upsert` (where it is absent): what is there is changed, a member that is absent stays as it is, a null one is cleared. `replace`: what is there gets the whole document, a member that is absent takes its default."),
        ("dry_run" = Option<bool>, Query, description = "Whether only to say what would happen; `false` where it is absent."),
        edit::MessageParam,
    ),
    request_body(content = String, content_type = "application/x-ndjson", description = "A JSON object a line, in UTF-8; a line has at most 1 MiB, all of them 256 MiB.", example = json!("{\"kind\": \"term\", \"document\": {\"name\": \"State Space Model\", \"definition\": \"A model that carries a state from each step of a sequence to the next.\", \"category\": \"core-concepts\", \"status\": \"published\"}}\n")),
    responses((status = 200, description = "What was done, or would be.", body = ImportReport), ImportErrors),
    security(("bearer" = ["contributor"]))
)]
#[post("/import")]
pub async fn import_glossary(
    state: Data<State>,
    Contributor(author): Contributor,
    mut query: Query,
    upload: Upload,
) -> Result<Answer, Error> {
    let mode = query.choice::<Mode>("mode").unwrap_or(Mode::Upsert);
    let dry_run = query.flag("dry_run");
    let intent = edit::Intent::parse(author, query, IfMatch::Absent)?;
    // Before its turn: whoever sends slowly keeps nobody else waiting.
    let file = upload.save().await?;
    let turn = state.transfers.take()?;
    let (alive, gone) = oneshot::channel::<()>();
    let plan = Plan { mode, dry_run };
    let shared = state.clone();
    // The file is read and compared on a thread of its own: the worker goes on answering others meanwhile.
    let running = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let source = Source { name: "the body".into(), file, format: Format::Ndjson };
        let mut items = Items::default();
        let mut tell = |progress: Progress| items.hear(progress);
        let importing = async {
            let (message, sources) = (intent.message.as_deref(), [source]);
            tokio::select! {
                report = import::import(&shared, &intent.author, message, plan, &sources, &mut tell) => Some(report),
                // Whoever asked has left: nothing of it is kept.
                _ = gone => None,
            }
        };
        let report = tokio::runtime::Handle::current().block_on(importing);
        report.map(|report| (report, items))
    });
    let outcome = running.await.map_err(Error::internal)?;
    drop(alive);
    let (report, items) = outcome.ok_or_else(|| Error::internal("the client has left"))?;
    let report = report.map_err(|error| match error {
        ImportError::Failed(error) => error,
        unreadable @ ImportError::Unreadable { .. } => Error::internal(unreadable),
    })?;
    answer(&state, report, items, dry_run).await
}

async fn answer(state: &State, report: Report, items: Items, dry_run: bool) -> Result<Answer, Error> {
    if !report.mistakes.is_empty() {
        let faults = report.mistakes.list.into_iter().take(FAULTS_MAX).map(at_line).collect();
        return Err(Error::Refused { faults, conflicts: vec![] });
    }
    let position = match report.position {
        Some(position) => position,
        None => state.position(crate::postgres::position(&mut *state.database().acquire().await?).await?),
    };
    let counts = [Kind::Category, Kind::Company, Kind::Term].into_iter().map(|kind| count(kind, &report.counts));
    let body = ImportReport { dry_run, counts: counts.collect(), items: items.list, more: items.more };
    Answer::json(&body, None, Seen { position, keys: Keys::default() })
}

fn at_line(mistake: Mistake) -> Fault {
    Fault { line: Some(mistake.line), ..mistake.fault }
}

fn count(kind: Kind, counts: &BTreeMap<(Kind, Option<What>), u64>) -> ImportCount {
    let of = |what| counts.get(&(kind, what)).copied().unwrap_or_default();
    ImportCount {
        kind: kind.as_str().into(),
        created: of(Some(What::Created)),
        updated: of(Some(What::Updated)),
        deleted: of(Some(What::Deleted)),
        restored: of(Some(What::Restored)),
        unchanged: of(None),
    }
}

/// What an answer names one by one.
#[derive(Default)]
struct Items {
    list: Vec<ImportItem>,
    more: u64,
}

impl Items {
    fn hear(&mut self, progress: Progress) {
        match progress {
            // Where others were writing the same it begins once more.
            Progress::Read { .. } => *self = Items::default(),
            Progress::Done(outcomes) => outcomes.into_iter().for_each(|outcome| self.add(outcome)),
        }
    }

    fn add(&mut self, outcome: Outcome) {
        let Outcome { kind, slug, version, what: Some(what) } = outcome else { return };
        if self.list.len() >= ITEMS_MAX {
            self.more += 1;
            return;
        }
        let (kind, what) = (kind.as_str().into(), what.as_str().into());
        self.list.push(ImportItem { kind, slug: slug.to_string(), what, version });
    }
}

/// The body of an import, which is not in memory at any time.
pub struct Upload {
    payload: Stream,
}

impl FromRequest for Upload {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let checked = check(request);
        let payload = Stream::from_request(request, payload);
        async move {
            checked?;
            let payload = payload.await.map_err(|error| Error::internal(error.to_string()))?;
            Ok(Upload { payload })
        }
        .boxed_local()
    }
}

fn check(request: &HttpRequest) -> Result<(), Error> {
    let headers = request.headers();
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if length.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| length > IMPORT_MAX_BYTES) {
        return Err(Error::ContentTooLarge(IMPORT_MAX_BYTES));
    }
    let kind = request.mime_type().ok().flatten();
    let known = kind.is_some_and(|kind| {
        [NDJSON, "application/ndjson", "application/octet-stream"].contains(&kind.essence_str())
            && kind.params().all(|(name, value)| name != "charset" || value == "utf-8")
    });
    let plain = !headers.contains_key(header::CONTENT_ENCODING);
    if known && plain { Ok(()) } else { Err(Error::UnsupportedMediaType { accepted: NDJSON }) }
}

impl Upload {
    /// Puts the body into a file that nobody else has a name of.
    async fn save(mut self) -> Result<std::fs::File, Error> {
        let mut file = tempfile::tempfile().map_err(Error::internal)?;
        let mut bytes = 0;
        loop {
            let waited = tokio::time::timeout(SILENCE, self.payload.next()).await;
            let Some(chunk) = waited.map_err(|_silent| Error::TimedOut(SILENCE.as_secs()))? else { break };
            let chunk = chunk.map_err(|error| {
                let detail = format!("The body did not come to its end ({error}): send all of it.");
                Error::BadRequest(vec![Fault::body("", "syntax", detail)])
            })?;
            bytes += chunk.len();
            if bytes > IMPORT_MAX_BYTES {
                return Err(Error::ContentTooLarge(IMPORT_MAX_BYTES));
            }
            file.write_all(&chunk).map_err(Error::internal)?;
        }
        Ok(file)
    }
}

/// Export
///
/// All of the glossary as of one position, as NDJSON: a line an entity, categories first, then companies,
/// then terms, each in the order of their slugs; drafts and the trash are in it. `document` is a `TermDocument`, a
/// `CategoryDocument` or a `CompanyDocument`, as `kind` says; `former_slugs` are those that the entity had before, and whether
/// it was public under them; `deleted_at` is null outside of the trash. With `revisions=true` each is followed by its versions
/// (`"kind": "revision"`, with `entity_kind`, `entity`, `version`, `what`, `author`, `message`, `at`, `document`). It is sent while it is read: an answer that ends without its last chunk is not whole, so
/// begin again. Whoever mirrors the glossary keeps `Termbase-Position`. `POST /import` of it, by an admin, makes the same
/// glossary in an empty database.
#[utoipa::path(
    operation_id = "export",
    tag = TAG_TRANSFER,
    params(("revisions" = Option<bool>, Query, description = "Whether all versions of everything are in it; `false` where it is absent.")),
    responses((status = 200, description = "A line an entity, or a version of one.", body = String, content_type = "application/x-ndjson", example = json!("{\"kind\":\"category\",\"id\":\"01a20c78-4513-7096-a7ca-781f7eec597d\",\"version\":1,\"created_at\":\"2026-11-24T12:00:00.000000Z\",\"updated_at\":\"2026-11-24T12:00:00.000000Z\",\"published_at\":null,\"deleted_at\":null,\"former_slugs\":[],\"document\":{\"slug\":\"core-concepts\",\"name\":\"Core Concepts\",\"description\":\"What the models of today's artificial intelligence are.\",\"parent\":null,\"rank\":1}}\n")), ExportErrors),
    security(("bearer" = ["viewer"]))
)]
#[get("/export")]
pub async fn export_glossary(state: Data<State>, _: Viewer, mut query: Query) -> Result<HttpResponse, Error> {
    let revisions = query.flag("revisions");
    query.finish()?;
    let turn = state.transfers.take()?;
    let mut export = Export::begin(&state, revisions).await?;
    let position = HeaderValue::from_str(&export.position.to_string()).map_err(Error::internal)?;
    let (sender, parts) = mpsc::channel(PARTS_AHEAD);
    // Documents are made into lines on a thread of its own: the worker goes on answering others meanwhile.
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        tokio::runtime::Handle::current().block_on(async {
            loop {
                let part = export.part().await.transpose();
                let Some(part) = part else { return };
                let failed = part.is_err();
                if let Err(error) = &part {
                    tracing::error!("an export has broken off: {error}");
                }
                // The client has left, or takes too long.
                if tokio::time::timeout(PATIENCE, sender.send(part.map(Bytes::from))).await.is_err() || failed {
                    return;
                }
            }
        });
    });
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, NDJSON))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .insert_header((TERMBASE_POSITION, position));
    Ok(response.body(Parts(parts)))
}

/// How long an upload may stand still.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a client may take for a part.
const PATIENCE: Duration = Duration::from_secs(30);

/// The parts of an export as they come.
struct Parts(mpsc::Receiver<Result<Bytes, Error>>);

impl MessageBody for Parts {
    type Error = Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Bytes, Error>>> {
        self.get_mut().0.poll_recv(context)
    }
}
