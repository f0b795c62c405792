//! Tokens: who may do what.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{clock::Timestamp, editorial::document::Choice, error::Error, http::auth, state::State};

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
    let mut transaction = state.database.begin_with("begin; lock table api_tokens in share row exclusive mode").await?;
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
    .fetch_optional(&state.database)
    .await?;
    Ok(found.map(|row| Author { token: Some(row.id), name: row.name, role: row.role }))
}

/// `tb_` and 256 random bits, in base64 for addresses (RFC 4648).
fn random() -> Result<SecretString, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(error.to_string()))?;
    Ok(SecretString::from(format!("tb_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))))
}
