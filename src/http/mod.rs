//! What HTTP needs and no resource owns.

pub mod answer;
pub mod auth;
pub mod body;
pub mod boundary;
pub mod fallback;
pub mod idempotency;
pub mod kept;
pub mod lookup;
pub mod negotiate;
pub mod paging;
pub mod position;
pub mod precondition;
pub mod query;
pub mod slug;
