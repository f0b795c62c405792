//! What every measurement stands on: a private cluster of its own, the service's state on it, and where wanted the service.
#![expect(clippy::unwrap_used, reason = "a measurement that fails is to stop here")]
#![allow(dead_code, reason = "each measurement uses a part of it")]

mod ground;

use std::{net::TcpListener, time::Duration};

use actix_web::{dev::ServerHandle, http::header::HeaderValue, web::Data};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use termbase::{
    app,
    clock::Clock,
    postgres,
    site::SiteSettings,
    state::{HttpSettings, Origins, State},
};

pub use ground::Ground;

pub struct Stage {
    pub state: Data<State>,
    database: PgConnectOptions,
    ground: Ground,
}

impl Stage {
    /// An empty database, and a state that holds so many connections to it.
    pub async fn set(name: &str, connections: u32) -> Self {
        let ground = Ground::lay(name);
        let database = ground.options("termbase");
        postgres::migrate(&database).await.unwrap();
        let pool = postgres::pool(database.clone(), connections, Duration::from_secs(1));
        let log_id = postgres::log_id(&pool).await.unwrap();
        let http = HttpSettings {
            cache_control: HeaderValue::from_static("no-store"),
            surrogate_keys: false,
            write_origins: Origins::These(Vec::new()),
            require_if_match: false,
            site: SiteSettings::default(),
            cache_bytes: 128 * 1024 * 1024,
            changes_kept: Duration::from_hours(24),
            patience: Duration::from_secs(1),
            request_timeout: Duration::from_secs(10),
            drain_timeout: Duration::ZERO,
            workers: std::thread::available_parallelism().map_or(2, usize::from),
        };
        let state = Data::new(State::new(pool, Clock::system(), http, log_id));
        Stage { state, database, ground }
    }

    /// A connection past the pool.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&self.database).await.unwrap()
    }

    /// Starts the service: its address, and what stops it.
    pub fn serve(&self) -> (String, ServerHandle) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = app::serve(self.state.clone(), listener).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        (address, handle)
    }

    pub async fn clear(self) {
        self.state.database().close().await;
        drop(self.ground);
    }
}

/// A client that speaks to nothing but what it is told to.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Marsaglia's xorshift: the same choices in each run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}
