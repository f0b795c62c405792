//! Tokens: who may do what.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

use crate::{clock::Timestamp, error::Error, http::auth, state::State};

/// The name of the token that the first start makes.
const FIRST: &str = "first admin";

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

/// Whether a token opens anything.
///
/// # Errors
/// A database that does not answer.
pub async fn is_valid(state: &State, token: &SecretString) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        select exists(select from api_tokens
                       where sha256 = $1 and revoked_at is null and (expires_at is null or expires_at > $2)) as "valid!"
        "#,
        auth::hash(token.expose_secret()),
        state.clock.now() as Timestamp
    )
    .fetch_one(&state.database)
    .await
}

/// `tb_` and 256 random bits, in base64 for addresses (RFC 4648).
fn random() -> Result<SecretString, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(error.to_string()))?;
    Ok(SecretString::from(format!("tb_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))))
}
