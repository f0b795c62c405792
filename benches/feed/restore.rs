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
    Stage,
    drill::{
        self, PATIENCE,
        http::{Client, Request, Stream},
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
    /// Restores over running instances, in the midst of all; then once more while none runs.
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
            self.put_back(&dump).await;
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
        if !shared.verdict.is_over() {
            self.restore_cold(&dump, &mut connection, table).await;
        }
    }

    /// The dump, and up to which position it goes.
    async fn dump(&self, dump: &Path, connection: &mut PgConnection) -> i64 {
        let _quiet = self.writing.write().await;
        self.read_to_the_end(connection).await;
        self.dump_to(dump).await;
        self.shared.truth.newest()
    }

    async fn dump_to(&self, dump: &Path) {
        let mut command = Command::new(self.ground.program("pg_dump"));
        command
            .args(["--clean", "--if-exists", "--no-owner", "--file"])
            .arg(dump)
            .arg("--dbname")
            .arg(self.ground.url());
        assert!(command.status().await.unwrap().success(), "pg_dump");
    }

    async fn put_back(&self, dump: &Path) {
        for _ in 0..TRIES {
            let mut command = Command::new(self.ground.program("psql"));
            command
                .args(["--quiet", "--no-psqlrc", "--single-transaction", "--set=ON_ERROR_STOP=1", "--file"])
                .arg(dump);
            command.arg("--dbname").arg(self.ground.url()).stdout(Stdio::null());
            if command.status().await.unwrap().success() {
                return;
            }
        }
        panic!("the dump can't be restored");
    }

    /// Everything that was committed is compared with.
    async fn read_to_the_end(&self, connection: &mut PgConnection) {
        let newest: i64 = sqlx::query_scalar("select max(position) from changes").fetch_one(connection).await.unwrap();
        while self.shared.truth.newest() < newest && !self.shared.verdict.is_over() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// No instance runs while the database is restored, and none remembers what was there. One client does.
    async fn restore_cold(&mut self, dump: &Path, connection: &mut PgConnection, table: &mut Table) {
        // The others have seen enough.
        let writing = self.writing.clone();
        let _quiet = writing.write().await;
        self.dump_to(dump).await;
        let kept = newest(connection).await;
        self.write_some(5, "before the cold restore").await;
        let known = Position { log_id: log_id(connection).await, number: kept + 3 };
        self.shared.truth.restoring();
        for instance in &mut self.instances {
            instance.kill().await;
        }
        self.put_back(dump).await;
        self.shared.truth.restored(kept);
        for instance in &mut self.instances {
            instance.start_again().await;
        }
        self.write_some(10, "after the cold restore").await;
        let known_text = known.to_string();
        let headers = [("last-event-id", known_text.as_str())];
        match Stream::open(self.instances[0].address, "/changes/stream", &headers).await.unwrap() {
            Err(answer) if answer.status == 410 => table.row(["restored while no instance ran", "the client is told"]),
            Err(answer) => self.cold(&format!("was answered with {}.", answer.status), known),
            Ok(mut stream) => {
                let next = stream.next().await.ok().flatten().and_then(|event| event.id).unwrap_or_default();
                self.cold(&format!("was told of {next}, of the log after the restore, as what comes next."), known);
            }
        }
    }

    fn cold(&self, did: &str, known: Position) {
        let sentence = format!(
            "a database was restored while no instance ran; a client that had seen {known} before that resumed and {did}"
        );
        self.shared.verdict.broken(Broken::new(SEEN_ONCE, sentence));
    }

    async fn write_some(&self, count: u32, when: &str) {
        let mut client = Client::new(self.instances[0].address);
        for number in 0..count {
            let text = json!({"definition": format!("Number {number} {when}.")});
            let answer = drill::write(&mut client, "PATCH", "/terms/t1", Some(&text)).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let answer = client.send(&Request::get("/changes")).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

async fn newest(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select max(position) from changes").fetch_one(connection).await.unwrap()
}

async fn log_id(connection: &mut PgConnection) -> uuid::Uuid {
    sqlx::query_scalar("select log_id from log_head").fetch_one(connection).await.unwrap()
}
