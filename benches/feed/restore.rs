//! A database that is dumped, written to, and restored: what clients know of the time between was never so.

use std::{
    path::Path,
    process::Stdio,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use serde_json::json;
use sqlx::PgConnection;
use termbase::changes::Position;
use tokio::process::Command;

use crate::{
    Stage, documents,
    drill::{
        self, Ground, Instance, PATIENCE,
        http::Stream,
        report::{Broken, Table},
    },
    truth::SEEN_ONCE,
    within,
};

/// How long is written between the dump and the restore, and how long all is watched afterwards.
const BETWEEN: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(6);
/// Readers hold tables in another order than a restore drops them in: one of the two may be given up as a deadlock.
const TRIES: usize = 5;

impl Stage {
    /// Restores over running instances, in the midst of all.
    pub async fn restore(&mut self, table: &mut Table) {
        let dump = self.ground.folder().join("dump.sql");
        let shared = self.shared.clone();
        let mut connection = self.ground.connect().await;
        let kept = self.dump(&dump, &mut connection).await;
        shared.verdict.pause(BETWEEN).await;
        let log_id = log_id(&mut connection).await;
        let began;
        {
            let _quiet = self.writing.write().await;
            self.read_to_the_end(&mut connection).await;
            shared.truth.restoring();
            began = Instant::now();
            put_back(&self.ground, &dump).await;
            shared.truth.restored(kept);
        }
        let restored = began.elapsed();
        while self::log_id(&mut connection).await == log_id && began.elapsed() < PATIENCE && !shared.verdict.is_over() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        table.row(["restored over running instances", &within(restored)]);
        table.row(["seen by an instance, and the log's id renewed", &within(began.elapsed().saturating_sub(restored))]);
        shared.verdict.pause(AFTER).await;
        if shared.counts.restarted.load(Ordering::Relaxed) == 0 {
            let sentence = "nobody was told that the log has begun anew after the restore.";
            shared.verdict.broken(Broken::new(SEEN_ONCE, sentence));
        }
    }

    /// The dump, and up to which position it goes.
    async fn dump(&self, dump: &Path, connection: &mut PgConnection) -> i64 {
        let _quiet = self.writing.write().await;
        self.read_to_the_end(connection).await;
        dump_to(&self.ground, dump).await;
        self.shared.truth.newest()
    }

    /// Everything that was committed is compared with.
    async fn read_to_the_end(&self, connection: &mut PgConnection) {
        let newest: i64 = sqlx::query_scalar("select max(position) from changes").fetch_one(connection).await.unwrap();
        while self.shared.truth.newest() < newest && !self.shared.verdict.is_over() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// No instance runs while the database is restored, and none remembers what was there. One client does: what it is told
/// next must not be of another log.
pub async fn cold(table: &mut Table) -> Result<(), Broken> {
    let ground = Ground::prepare("cold").await;
    let wire = ground.wire().await;
    let mut instance = Instance::start(&ground, &wire, "only", &[]).await;
    drill::import(&instance, &documents()).await;
    let mut connection = ground.connect().await;
    let dump = ground.folder().join("cold.sql");
    dump_to(&ground, &dump).await;
    let kept = newest(&mut connection).await;
    write_some(&instance, 5, "before the restore").await;
    let known = Position { log_id: log_id(&mut connection).await, number: kept + 3 }.to_string();
    instance.kill().await;
    put_back(&ground, &dump).await;
    instance.start_again().await;
    write_some(&instance, 10, "after the restore").await;
    let opened = Stream::open(instance.address, "/changes/stream", &[("last-event-id", &known)]).await.unwrap();
    let did = match opened {
        Err(answer) if answer.status == 410 => None,
        Err(answer) => Some(format!("was answered with {}.", answer.status)),
        Ok(mut stream) => {
            let mut next = stream.next().await.unwrap().unwrap();
            while next.data.is_empty() {
                next = stream.next().await.unwrap().unwrap();
            }
            Some(format!(
                "was told of {}, of the log after the restore, as if that came next.",
                next.id.unwrap_or_default()
            ))
        }
    };
    drop((instance, wire));
    ground.clear().await;
    let Some(did) = did else {
        table.row(["restored while no instance ran", "who knew more is told so"]);
        return Ok(());
    };
    let sentence = format!(
        "a database was restored up to {kept} while no instance ran, and ten changes were written; a client that had \
         seen {known} before resumed and {did}"
    );
    Err(Broken::new(SEEN_ONCE, sentence))
}

async fn dump_to(ground: &Ground, dump: &Path) {
    let mut command = Command::new(ground.program("pg_dump"));
    command.args(["--clean", "--if-exists", "--no-owner", "--file"]).arg(dump).arg("--dbname").arg(ground.url());
    assert!(command.status().await.unwrap().success(), "pg_dump");
}

async fn put_back(ground: &Ground, dump: &Path) {
    for _ in 0..TRIES {
        let mut command = Command::new(ground.program("psql"));
        command.args(["--quiet", "--no-psqlrc", "--single-transaction", "--set=ON_ERROR_STOP=1", "--file"]).arg(dump);
        command.arg("--dbname").arg(ground.url()).stdout(Stdio::null());
        if command.status().await.unwrap().success() {
            return;
        }
    }
    panic!("the dump can't be restored");
}

async fn write_some(instance: &Instance, count: u32, when: &str) {
    let mut client = instance.client();
    for number in 0..count {
        let text = json!({"definition": format!("Number {number} {when}.")});
        let answer = drill::write(&mut client, "PATCH", "/terms/t1", Some(&text)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

async fn newest(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select max(position) from changes").fetch_one(connection).await.unwrap()
}

async fn log_id(connection: &mut PgConnection) -> uuid::Uuid {
    sqlx::query_scalar("select log_id from log_head").fetch_one(connection).await.unwrap()
}
