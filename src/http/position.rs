//! `Termbase-After`: an answer at a position or later, so that a client reads its own writes through any instance.

use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderMap, HeaderName};

use crate::{
    changes::Position,
    error::{Error, Fault},
    state::State,
};

pub const TERMBASE_AFTER: HeaderName = HeaderName::from_static("termbase-after");

/// How long a request waits at most for its position.
const PATIENCE: Duration = Duration::from_secs(1);
/// How soon it looks again: then after twice as long each time, so that a header costs a few looks and not fifty.
const FIRST_LOOK: Duration = Duration::from_millis(10);

/// The position that a request asks for.
///
/// # Errors
/// [`Error::BadRequest`] where the header stands more than once, or is no position.
pub fn asked(headers: &HeaderMap) -> Result<Option<Position>, Error> {
    let mut values = headers.get_all(TERMBASE_AFTER);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad("duplicate", "The header stands more than once; leave it once."));
    }
    let position = value.to_str().ok().and_then(Position::parse);
    position.map(Some).ok_or_else(|| {
        bad("not_a_position", "Expected what Termbase-Position said, such as 018f2a6c4b1e7c3d9a5b0c1d2e3f4a5b-42.")
    })
}

fn bad(code: &str, detail: &str) -> Error {
    Error::BadRequest(vec![Fault::header("Termbase-After", code, detail)])
}

/// Waits until a snapshot that begins now sees `position`.
///
/// # Errors
/// [`Error::LogRestarted`] for a position of another log; [`Error::NotSeenYet`] after a second.
pub async fn wait_for(state: &State, position: Position) -> Result<(), Error> {
    if position.log_id != state.log_id {
        return Err(Error::LogRestarted);
    }
    let began = Instant::now();
    let mut pause = FIRST_LOOK;
    loop {
        let newest = sqlx::query_scalar!(r#"select coalesce(max(position), 0) as "newest!" from changes"#)
            .fetch_one(&state.database)
            .await?;
        if newest >= position.number {
            return Ok(());
        }
        let left = PATIENCE.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(Error::NotSeenYet(position));
        }
        tokio::time::sleep(pause.min(left)).await;
        pause *= 2;
    }
}
