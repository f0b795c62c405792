//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a POST that creates, sent again, creates once.
//!
//! The key is a row of the transaction that makes what it protects. A second request with it waits for the first, and
//! finds the entity; a request that fails leaves nothing, and may be sent again with the same key.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::body::Body;
use crate::{
    clock::Timestamp,
    error::{Error, Fault},
    tokens::Author,
};

const HEADER: &str = "Idempotency-Key";
const KEY_MAX: usize = 200;

/// The key of a request, if it has one.
#[derive(Debug)]
pub struct IdempotencyKey {
    key: Option<String>,
    /// Method and path.
    request: String,
    query: String,
}

impl FromRequest for IdempotencyKey {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut values = request.headers().get_all(HEADER);
        let value = values.next().map(|value| value.to_str().unwrap_or_default());
        let key = match (value, values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => parse(value).map(Some).ok_or(()),
            (Some(_), Some(_)) => Err(()),
        };
        let Ok(key) = key else {
            let detail = format!("Expected one key of 1 to {KEY_MAX} visible ASCII characters, such as a random UUID.");
            return ready(Err(Error::BadRequest(vec![Fault::header(HEADER, "bad_key", detail)])));
        };
        let name = format!("{} {}", request.method(), request.path());
        ready(Ok(IdempotencyKey { key, request: name, query: request.query_string().to_owned() }))
    }
}

/// The draft wants a quoted string (RFC 8941); most clients send the bare one. They are the same key.
fn parse(value: &str) -> Option<String> {
    let value = value.trim();
    let key = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let fits = (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    fits.then(|| key.to_owned())
}

/// What a key says about its request.
pub enum Claim {
    /// There is no key.
    Unkeyed,
    /// The request is the first one; what it makes is to be [kept](Retries::keep) with the key.
    First(Retries),
    /// It was done already, and made this.
    Done(Uuid),
}

/// A key that this transaction holds.
pub struct Retries {
    token: Uuid,
    request: String,
    key: String,
}

impl IdempotencyKey {
    /// Takes the key for this transaction; waits for another one that has it. Scoped to the token, the method and the
    /// path, so that nobody learns of another's keys.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`]; a database that does not answer.
    pub async fn claim(
        &self,
        conn: &mut PgConnection,
        author: &Author,
        body: &Body,
        now: Timestamp,
    ) -> Result<Claim, Error> {
        let (Some(key), Some(token)) = (&self.key, author.token) else { return Ok(Claim::Unkeyed) };
        let mut digest = Sha256::new();
        digest.update(&body.bytes);
        digest.update([0]);
        digest.update(&self.query);
        let sha256 = digest.finalize().to_vec();
        let first = sqlx::query_scalar!(
            r#"
            insert into idempotency_keys as k (token, request, key, sha256, at) values ($1, $2, $3, $4, $5)
            on conflict on constraint idempotency_keys_key
            do update set sha256 = excluded.sha256, entity = null, at = excluded.at
             where k.at <= excluded.at - interval '1 day'
            returning true as "first!"
            "#,
            token,
            self.request,
            key,
            sha256,
            now as Timestamp
        )
        .fetch_optional(&mut *conn)
        .await?;
        if first.is_some() {
            forget(conn, now).await?;
            return Ok(Claim::First(Retries { token, request: self.request.clone(), key: key.clone() }));
        }
        let kept = sqlx::query!(
            r#"select sha256, entity as "entity!" from idempotency_keys where token = $1 and request = $2 and key = $3"#,
            token,
            self.request,
            key
        )
        .fetch_one(conn)
        .await?;
        if kept.sha256 != sha256 {
            return Err(Error::IdempotencyKeyReused);
        }
        Ok(Claim::Done(kept.entity))
    }
}

impl Retries {
    /// Says what the request has made, for its retries.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn keep(self, conn: &mut PgConnection, entity: Uuid) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update idempotency_keys set entity = $4 where token = $1 and request = $2 and key = $3",
            self.token,
            self.request,
            self.key,
            entity
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// Each new key makes room for itself: a few of those that are over go. One that another transaction holds is left to it.
async fn forget(conn: &mut PgConnection, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        delete from idempotency_keys k
         using (select token, request, key from idempotency_keys where at <= $1::timestamptz - interval '1 day'
                 order by at limit 10 for update skip locked) old
         where k.token = old.token and k.request = old.request and k.key = old.key
        "#,
        now as Timestamp
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_key_is_the_same_with_quotes_and_without() {
        assert_eq!(parse("\"8e03978e-40d5\""), parse("8e03978e-40d5"));
        for bad in ["", "\"\"", "a b", "a\"b", &"x".repeat(201)] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
