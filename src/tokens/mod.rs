//! Tokens: who may do what. `/tokens` and `/me`, and `termbase token` for whoever has the machine.
//!
//! A secret is shown once, to who makes the token; only its SHA-256 is stored. A revoked token stays in the list.

mod command;
mod http;

pub use command::{Command, run};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::PgExecutor;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    editorial::document::{self as read, Choice, Members},
    error::{Error, Fault},
    http::{auth, paging::After},
    openapi::Routes,
    postgres,
    state::State,
};

pub fn routes(routes: &mut Routes<'_>) {
    routes
        .service(http::read_me)
        .service(http::list_tokens)
        .service(http::create_token)
        .service(http::read_token)
        .service(http::revoke_token);
}

/// The name of the token that the first start makes.
const FIRST: &str = "first admin";

/// What a token opens; each role has all of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Role {
    /// Sees drafts.
    Viewer,
    /// Writes drafts.
    Contributor,
    /// Changes, publishes and deletes what is public, and categories.
    Editor,
    /// Tokens, purging, audit.
    Admin,
}

impl Choice for Role {
    const ALL: &'static [Self] = &[Role::Viewer, Role::Contributor, Role::Editor, Role::Admin];

    fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Contributor => "contributor",
            Role::Editor => "editor",
            Role::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// In whose name something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The token; the program itself has none.
    pub token: Option<Uuid>,
    /// What revisions show.
    pub name: String,
    pub role: Role,
}

impl Author {
    /// The program itself, or a part of it: what it writes was asked for by whoever runs it.
    #[must_use]
    pub fn program(name: &str) -> Self {
        Author { token: None, name: name.to_owned(), role: Role::Admin }
    }
}

/// A token: all but its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Token {
    pub id: Uuid,
    /// Whose it is, or what for: revisions show it as their author.
    #[schema(example = "Ada's editor")]
    pub name: String,
    pub role: Role,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// From then on it opens nothing; `null` where it has no end.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// Since when it opens nothing; `null` where it was not revoked.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

/// What a new token is to be.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
pub struct TokenCreate {
    /// Whose it is, or what for: one line. Revisions show it as their author.
    #[schema(example = "Ada's editor", min_length = 1, max_length = 100)]
    pub name: String,
    pub role: Role,
    /// From when on it opens nothing, in the future; without an end where it is absent or null.
    #[schema(value_type = Option<String>, format = DateTime, example = "2036-01-31T00:00:00Z")]
    pub expires_at: Option<Timestamp>,
}

impl TokenCreate {
    /// Reads it from JSON, for a token that is made at `now`.
    ///
    /// # Errors
    /// Each fault with its JSON pointer, the rule, and what would pass.
    pub fn parse(value: &serde_json::Value, now: Timestamp) -> Result<Self, Vec<Fault>> {
        read::document(value, |place, value| {
            let mut members = Members::of(place, value)?;
            let name = members.required("name", |place, value| place.line(value, 1, 100));
            let role = members.required("role", read::choice);
            let expires_at = members.optional("expires_at", |place, value| {
                let text = place.line(value, 1, 100)?;
                match Timestamp::parse(&text) {
                    Some(time) if time > now => Some(time),
                    Some(_) => place.fault("not_in_the_future", format!("Expected a time after {now}.")),
                    None => place.fault("not_a_time", "Expected a time of RFC 3339 such as 2036-01-31T00:00:00Z."),
                }
            });
            members.finish();
            Some(TokenCreate { name: name?, role: role?, expires_at })
        })
    }
}

/// Makes a token. Its secret is returned, and is nowhere else.
///
/// # Errors
/// A database that does not answer; a system without randomness.
pub async fn create(state: &State, wanted: TokenCreate) -> Result<(Token, SecretString), Error> {
    let TokenCreate { name, role, expires_at } = wanted;
    let secret = random()?;
    let (id, created_at) = (state.clock.id(), state.clock.now());
    sqlx::query!(
        "insert into api_tokens (id, name, role, sha256, created_at, expires_at) values ($1, $2, $3, $4, $5, $6)",
        id,
        &name,
        role.as_str(),
        auth::hash(secret.expose_secret()),
        created_at as Timestamp,
        expires_at as Option<Timestamp>
    )
    .execute(&state.database())
    .await?;
    Ok((Token { id, name, role, created_at, expires_at, last_used_at: None, revoked_at: None }, secret))
}

/// Tokens, the newest first: at most `limit` of those after a place in the list; all, where there is no limit.
///
/// # Errors
/// A database that does not answer.
pub async fn list(
    database: impl PgExecutor<'_>,
    after: Option<&After<Timestamp>>,
    limit: Option<i64>,
) -> Result<Vec<Token>, sqlx::Error> {
    sqlx::query_as!(
        Token,
        r#"
        select id, name, role as "role: Role", created_at as "created_at: Timestamp", expires_at as "expires_at: Timestamp",
               last_used_at as "last_used_at: Timestamp", revoked_at as "revoked_at: Timestamp"
          from api_tokens
         where $1::timestamptz is null or (created_at, id) < ($1, $2)
         order by created_at desc, id desc
         limit $3
        "#,
        after.map(|after| after.key) as Option<Timestamp>,
        after.map(|after| after.id),
        limit
    )
    .fetch_all(database)
    .await
}

/// The token with this id.
///
/// # Errors
/// [`Error::NoToken`]; a database that does not answer.
pub async fn read(state: &State, id: Uuid) -> Result<Token, Error> {
    let token = sqlx::query_as!(
        Token,
        r#"
        select id, name, role as "role: Role", created_at as "created_at: Timestamp", expires_at as "expires_at: Timestamp",
               last_used_at as "last_used_at: Timestamp", revoked_at as "revoked_at: Timestamp"
          from api_tokens where id = $1
        "#,
        id
    )
    .fetch_optional(&state.database())
    .await?;
    token.ok_or(Error::NoToken)
}

/// Makes a token open nothing from now on. One that was revoked before stays as it is.
///
/// # Errors
/// [`Error::NoToken`]; [`Error::Conflict`] for the last admin token that is valid; a database that does not answer.
pub async fn revoke(state: &State, id: Uuid) -> Result<(), Error> {
    let now = state.clock.now();
    let mut transaction = postgres::begin(&state.database(), "begin isolation level read committed").await?;
    // Locked, so that of two who revoke the last two tokens the second one sees what the first did.
    let admins = sqlx::query_scalar!(
        r#"
        select id from api_tokens
         where role = 'admin' and revoked_at is null and (expires_at is null or expires_at > $1)
         order by id
           for no key update
        "#,
        now as Timestamp
    )
    .fetch_all(&mut *transaction)
    .await?;
    if admins == [id] {
        return Err(last_admin());
    }
    let revoked =
        sqlx::query!("update api_tokens set revoked_at = coalesce(revoked_at, $2) where id = $1", id, now as Timestamp)
            .execute(&mut *transaction)
            .await?;
    if revoked.rows_affected() == 0 {
        return Err(Error::NoToken);
    }
    transaction.commit().await?;
    Ok(())
}

/// Why the last admin token stays.
pub(crate) fn last_admin() -> Error {
    let detail = "This is the last admin token that is valid: without it nobody could make another one here. Make another \
                  first, by POST /tokens with the role admin, or by termbase token create NAME --role admin.";
    Error::Conflict { detail: detail.into(), conflicts: Vec::new() }
}

/// Makes the first admin token, if there is no token yet: `given`, or a random one, which `keep` gets before it counts:
/// it is stored nowhere else.
///
/// # Errors
/// A database that does not answer; what `keep` fails with.
pub async fn make_first(
    state: &State,
    given: Option<&SecretString>,
    keep: impl FnOnce(&SecretString) -> std::io::Result<()>,
) -> Result<bool, Error> {
    let token = match given {
        Some(token) => token.clone(),
        None => random()?,
    };
    // The table's lock makes one of several instances that start at once the first.
    let mut transaction =
        postgres::begin(&state.database(), "begin; lock table api_tokens in share row exclusive mode").await?;
    let made = sqlx::query_scalar!(
        r#"
        insert into api_tokens (id, name, role, sha256, created_at)
        select $1, $2, 'admin', $3, $4
         where not exists (select from api_tokens)
        returning id
        "#,
        state.clock.id(),
        FIRST,
        auth::hash(token.expose_secret()),
        state.clock.now() as Timestamp
    )
    .fetch_optional(&mut *transaction)
    .await?;
    if made.is_some() && given.is_none() {
        keep(&token).map_err(Error::internal)?;
    }
    transaction.commit().await?;
    Ok(made.is_some())
}

/// Whose token this is, if it opens anything. When it was last used is kept to the minute: a token in constant use
/// writes once a minute, and a request that finds another one at it leaves that to the other and does not wait.
///
/// # Errors
/// A database that does not answer.
pub async fn find(state: &State, token: &SecretString) -> Result<Option<Author>, sqlx::Error> {
    let found = sqlx::query!(
        r#"
        with found as (
            select id, name, role, last_used_at from api_tokens
             where sha256 = $1 and revoked_at is null and (expires_at is null or expires_at > $2)
        ), stale as (
            select id from api_tokens
             where id = (select id from found where last_used_at is null or last_used_at < $2 - interval '1 minute')
               and (last_used_at is null or last_used_at < $2 - interval '1 minute')
               for no key update skip locked
        ), used as (
            update api_tokens t set last_used_at = $2 from stale where t.id = stale.id
        )
        select id, name, role as "role: Role" from found
        "#,
        auth::hash(token.expose_secret()),
        state.clock.now() as Timestamp
    )
    .fetch_optional(&state.database())
    .await?;
    Ok(found.map(|row| Author { token: Some(row.id), name: row.name, role: row.role }))
}

/// `tb_` and 256 random bits, in base64 for addresses (RFC 4648).
fn random() -> Result<SecretString, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(error.to_string()))?;
    Ok(SecretString::from(format!("tb_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))))
}
