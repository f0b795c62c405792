//! A private cluster of a measurement's own, and databases in it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use termbase::postgres::{
    self,
    cluster::{Cluster, Options},
};

/// How long a server may take to stop: a large one has much to write.
const END: Duration = Duration::from_mins(2);

pub struct Ground {
    /// Always there; taken when all of it goes.
    cluster: Option<Cluster>,
    folder: PathBuf,
}

impl Ground {
    /// A cluster as the service itself makes one.
    pub fn lay(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("termbase-bench-{name}-{}", std::process::id()));
        Ground { cluster: Some(attach(&folder)), folder }
    }

    /// The same, with settings that a server takes at its start alone.
    pub async fn lay_with(name: &str, settings: &[(&str, &str)]) -> Self {
        let mut ground = Ground::lay(name);
        let mut connection = ground.connect("postgres").await;
        for (name, value) in settings {
            let set = AssertSqlSafe(format!("alter system set {name} = '{value}'"));
            sqlx::raw_sql(set).execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
        ground.leave();
        ground.cluster = Some(attach(&ground.folder));
        ground
    }

    pub fn url(&self, database: &str) -> String {
        self.cluster().url(database)
    }

    /// With a name by which whoever looks at the database can tell one's connections from others'.
    pub fn url_as(&self, database: &str, name: &str) -> String {
        format!("{}&application_name={name}", self.url(database))
    }

    pub fn options(&self, database: &str) -> PgConnectOptions {
        self.url(database).parse().unwrap()
    }

    /// A connection past every pool.
    pub async fn connect(&self, database: &str) -> PgConnection {
        PgConnection::connect_with(&self.options(database)).await.unwrap()
    }

    /// A database with the service's tables, and nothing in them.
    pub async fn create(&self, database: &str) -> PgConnectOptions {
        let mut connection = self.connect("postgres").await;
        let create = AssertSqlSafe(format!("create database {database}"));
        sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
        let options = self.options(database);
        postgres::migrate(&options).await.unwrap();
        options
    }

    /// Where a measurement may put files of its own; they go with the ground.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn socket_dir(&self) -> PathBuf {
        self.cluster().socket_dir()
    }

    /// What the database server and all that it started have computed so far, in seconds. Linux tells.
    pub fn postgres_cpu_seconds(&self) -> f64 {
        let file = fs::read_to_string(self.cluster().folder().join("postgres/postmaster.pid")).unwrap();
        let postmaster = file.lines().next().unwrap().to_owned();
        let stats =
            fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok());
        let mut ticks = 0.0;
        for stat in stats {
            // The name in between may have spaces in it.
            let (Some((pid, _)), Some((_, rest))) = (stat.split_once(' '), stat.rsplit_once(") ")) else { continue };
            let fields: Vec<&str> = rest.split_whitespace().collect();
            let field = |place: usize| fields.get(place).unwrap().parse::<f64>().unwrap();
            let of = |places: &[usize]| -> f64 { places.iter().map(|&place| field(place)).sum() };
            if pid == postmaster {
                // Its own, and that of those who have ended.
                ticks += of(&[11, 12, 13, 14]);
            } else if fields.get(1) == Some(&&*postmaster) {
                ticks += of(&[11, 12]);
            }
        }
        // Of which Linux has a hundred a second.
        ticks / 100.0
    }

    fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().unwrap()
    }

    /// Gives the lease back, and waits until the server has stopped: it still writes to its folder.
    fn leave(&mut self) {
        let Some(cluster) = self.cluster.take() else { return };
        let ended = cluster.watch();
        drop(cluster);
        // On a thread of its own: this one may have a runtime already, and a runtime blocks in no other.
        let waited = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(async { tokio::time::timeout(END, ended).await.is_ok() }))
        });
        let _ = waited.join();
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.leave();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// On a thread of its own, since it blocks on a runtime of its own.
fn attach(folder: &Path) -> Cluster {
    let options = Options {
        program: env!("CARGO_BIN_EXE_termbase").into(),
        data_dir: folder.to_owned(),
        bin_dir: std::env::var_os("PG_BIN_DIR").map(PathBuf::from),
        path: std::env::var_os("PATH"),
        cache_dir: None,
        linger: Duration::ZERO,
    };
    std::thread::spawn(move || Cluster::attach(&options, &mut |line| eprintln!("{line}")).unwrap()).join().unwrap()
}
