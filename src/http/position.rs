//! `Termbase-After`: an answer at a position or later, so that a client reads its own writes through any instance.

use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName};

use crate::{
    changes::Position,
    error::{Error, Fault},
    state::State,
};

pub const TERMBASE_AFTER: HeaderName = HeaderName::from_static("termbase-after");

/// How long a request waits at most for its position.
const PATIENCE: Duration = Duration::from_millis(900);

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

/// Waits until this instance follows the log at all.
///
/// # Errors
/// [`Error::NotReady`] after 0.9 seconds.
pub async fn wait_for_log(state: &State) -> Result<(), Error> {
    let begun = tokio::time::timeout(PATIENCE, state.followed.begun()).await;
    begun.map_err(|_elapsed| Error::NotReady("The change log is not followed yet; try again in a moment.".into()))
}

/// Waits until this instance has followed the log up to `position`: a snapshot that begins then sees it.
///
/// # Errors
/// [`Error::LogRestarted`] for a position of another log; [`Error::NotSeenYet`] after 0.9 seconds.
pub async fn wait_for(state: &State, position: Position) -> Result<(), Error> {
    if position.log_id != state.followed.log_id() {
        return Err(Error::LogRestarted);
    }
    let reached = tokio::time::timeout(PATIENCE, async {
        state.followed.begun().await;
        state.followed.reached(position.number).await;
    });
    let reached = reached.await;
    // The log may have begun anew meanwhile.
    match reached {
        _ if position.log_id != state.followed.log_id() => Err(Error::LogRestarted),
        Ok(()) => Ok(()),
        Err(_elapsed) => Err(Error::NotSeenYet(position)),
    }
}
