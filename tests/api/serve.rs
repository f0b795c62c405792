//! The program itself, started as a process in an empty folder, and stopped in every way.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use termbase::{editorial::Edit, postgres::session, samples, terms::TermStatus};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    cluster::{Folder, wait_for_some},
    support::{Answer, Content, Database, PROGRAM, client},
};

pub const DEADLINE: Duration = Duration::from_mins(1);
/// Shorter than every patience of the program's own.
pub const AT_ONCE: Duration = Duration::from_secs(20);
pub const TOKEN: &str = "tb_0123456789abcdefghijklmnopqrstuv";

// The private database.

#[tokio::test]
async fn the_first_start_says_where_to_look() {
    let folder = Folder::new("first");
    let mut termbase = Termbase::serve(&folder, &[]);
    let address = termbase.address().await;
    let docs = termbase.line("docs").await;
    let curl = termbase.line("curl").await;
    assert_eq!(docs.split_whitespace().last().unwrap(), format!("{address}/docs"));
    assert_eq!(get(docs.split_whitespace().last().unwrap()).await.status, 200);
    let page = get(curl.split_once("curl ").unwrap().1).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "application/json"));
    assert!(page.json()["companies"]["items"].as_array().is_some_and(|items| !items.is_empty()), "{}", page.json());
}

#[tokio::test]
async fn the_first_admin_token_lies_in_a_file_of_ones_own() {
    let folder = Folder::new("token");
    let mut termbase = Termbase::serve(&folder, &[]);
    let address = termbase.address().await;
    let line = termbase.line("admin token").await;
    let file = folder.root.join(line.split_whitespace().last().unwrap());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let token = fs::read_to_string(&file).unwrap();
    assert!(!termbase.said.concat().contains(token.trim()), "{:?}", termbase.said);
    assert_eq!(get_as(&format!("{address}/terms"), token.trim()).await.status, 200);
    get_as(&format!("{address}/terms"), TOKEN).await.problem(401, "invalid_token");
}

#[tokio::test]
async fn a_second_start_finds_everything_and_loads_nothing() {
    let folder = Folder::new("second");
    let mut first = Termbase::serve(&folder, &[]);
    let before = terms(&first.address().await).await;
    let token = fs::read(folder.data_dir().join("admin-token")).unwrap();
    assert_eq!(first.stop(Signal::SIGTERM).await, Some(0), "{:?}", first.said);
    let mut second = Termbase::serve(&folder, &[]);
    let after = terms(&second.address().await).await;
    assert_eq!(after.header("termbase-position"), before.header("termbase-position"));
    assert_eq!(after.json(), before.json());
    assert_eq!(second.stop(Signal::SIGTERM).await, Some(0), "{:?}", second.said);
    assert_eq!(fs::read(folder.data_dir().join("admin-token")).unwrap(), token);
    assert!(!second.said.iter().any(|line| line.contains("admin token") || line.contains("loaded")));
}

#[tokio::test]
async fn a_start_and_a_stop_without_trouble_say_nothing_else() {
    let folder = Folder::new("quiet");
    let mut first = Termbase::serve(&folder, &[]);
    first.address().await;
    first.stop(Signal::SIGTERM).await;
    let mut second = Termbase::serve(&folder, &[]);
    second.address().await;
    second.stop(Signal::SIGTERM).await;
    let expected = ["listens on", "docs ", "try ", "stopping: requests in flight are finished"];
    // On a busy machine.
    let slow = ["still starting up", "slow "];
    let odd = |line: &&String| !expected.iter().chain(&slow).any(|known| line.contains(known));
    assert_eq!(second.said.iter().filter(odd).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[tokio::test]
async fn a_second_one_on_the_same_folder_is_told_of_the_first() {
    let folder = Folder::new("twice");
    let mut first = Termbase::serve(&folder, &[]);
    let address = first.address().await;
    let mut second = Termbase::serve(&folder, &[]);
    assert_eq!(second.end(AT_ONCE).await, Some(1));
    let said = second.said.concat();
    assert!(said.contains("already running") && said.contains(&format!("process {}", first.pid)), "{said}");
    assert_eq!(terms(&address).await.status, 200);
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight() {
    finishes_what_is_in_flight(Signal::SIGTERM).await;
}

#[tokio::test]
async fn sigint_finishes_what_is_in_flight() {
    finishes_what_is_in_flight(Signal::SIGINT).await;
}

async fn finishes_what_is_in_flight(signal: Signal) {
    let folder = Folder::new("drain");
    let mut termbase = Termbase::serve(&folder, &[]);
    let address = termbase.address().await;
    let mut held = Held::request(&address, private(&folder)).await;
    termbase.signal(signal);
    termbase.line("stopping").await;
    held.release().await;
    let answer = held.answer.await.unwrap().unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.json()["total"].as_u64().is_some_and(|total| total > 0));
    assert_eq!(termbase.end(DEADLINE).await, Some(0), "{:?}", termbase.said);
    folder.assert_ends();
}

#[tokio::test]
async fn a_sigkill_loses_nothing() {
    let folder = Folder::new("killed");
    let mut first = Termbase::serve(&folder, &[]);
    let before = terms(&first.address().await).await;
    first.signal(Signal::SIGKILL);
    first.end(AT_ONCE).await;
    // At once, while the first one's Postgres may be stopping.
    let mut second = Termbase::serve(&folder, &[]);
    let after = terms(&second.address().await).await;
    assert_eq!(after.header("termbase-position"), before.header("termbase-position"));
    assert_eq!(after.json(), before.json());
    second.stop(Signal::SIGTERM).await;
    folder.assert_ends();
}

#[tokio::test]
async fn a_killed_supervisor_is_replaced_under_way() {
    let folder = Folder::new("supervisor");
    let mut termbase = Termbase::serve(&folder, &[]);
    let address = termbase.address().await;
    let (before, server) = (terms(&address).await, folder.server());
    kill(folder.supervisor(), Signal::SIGKILL).unwrap();
    termbase.line("lost its supervisor").await;
    assert_eq!(serves_again(&address, &folder, server).await.json(), before.json());
    assert_eq!(termbase.stop(Signal::SIGTERM).await, Some(0), "{:?}", termbase.said);
    folder.assert_ends();
}

#[tokio::test]
async fn a_killed_postgres_is_started_again_under_way() {
    let folder = Folder::new("postmaster");
    let mut termbase = Termbase::serve(&folder, &[]);
    let address = termbase.address().await;
    let (before, server) = (terms(&address).await, folder.server());
    kill(server, Signal::SIGKILL).unwrap();
    assert_eq!(serves_again(&address, &folder, server).await.json(), before.json());
    assert_eq!(termbase.stop(Signal::SIGTERM).await, Some(0), "{:?}", termbase.said);
    folder.assert_ends();
}

#[tokio::test]
async fn a_signal_while_the_database_is_made_leaves_nothing_behind() {
    let folder = Folder::new("early");
    let mut termbase = Termbase::serve(&folder, &[]);
    termbase.line("making a new database").await;
    assert_eq!(termbase.stop(Signal::SIGTERM).await, Some(0), "{:?}", termbase.said);
    folder.assert_ends();
}

// A database of one's own.

#[tokio::test]
async fn one_s_own_database_gets_no_samples() {
    let (folder, database) = (Folder::new("bare"), Database::bare("UTF8").await);
    let mut termbase = Termbase::serve(&folder, &[("DATABASE_URL", &database.url())]);
    assert_eq!(terms(&termbase.address().await).await.json()["total"], 0);
}

#[tokio::test]
async fn one_s_own_database_gets_the_samples_that_were_asked_for() {
    let (folder, database) = (Folder::new("samples"), Database::bare("UTF8").await);
    let mut termbase = Termbase::serve(&folder, &[("DATABASE_URL", &database.url()), ("TERMBASE_SAMPLES", "true")]);
    let address = termbase.address().await;
    let is_public = |edit: &&Edit| matches!(edit, Edit::Term(_, term) if term.status == TermStatus::Published);
    assert_eq!(terms(&address).await.json()["total"], samples::edits().unwrap().iter().filter(is_public).count());
    assert!(!folder.data_dir().join("postgres").exists());
}

#[tokio::test]
async fn two_that_start_at_once_are_one_start() {
    let database = Database::bare("UTF8").await;
    let folders = [Folder::new("one"), Folder::new("other")];
    let url = database.url();
    let mut both = folders
        .each_ref()
        .map(|folder| Termbase::serve(folder, &[("DATABASE_URL", &url), ("TERMBASE_SAMPLES", "true")]));
    for termbase in &mut both {
        let address = termbase.address().await;
        assert_eq!(get(&format!("{address}/readyz")).await.status, 200);
    }
    let mut connection = database.connect().await;
    let changes = i64::try_from(samples::edits().unwrap().len()).unwrap();
    assert_eq!(count(&mut connection, "select count(*) from changes").await, changes);
    assert_eq!(count(&mut connection, "select count(*) from api_tokens").await, 1);
    for termbase in &mut both {
        termbase.stop(Signal::SIGTERM).await;
    }
    for once in ["loaded the sample glossary", "admin token"] {
        let said = both.iter().flat_map(|termbase| &termbase.said).filter(|line| line.contains(once)).count();
        assert_eq!(said, 1, "{once}");
    }
}

#[tokio::test]
async fn a_given_admin_token_is_taken_and_written_nowhere() {
    let (folder, database) = (Folder::new("given"), Database::bare("UTF8").await);
    let mut termbase = Termbase::serve(&folder, &[("DATABASE_URL", &database.url()), ("TERMBASE_ADMIN_TOKEN", TOKEN)]);
    let address = termbase.address().await;
    assert_eq!(get_as(&format!("{address}/terms"), TOKEN).await.status, 200);
    termbase.stop(Signal::SIGTERM).await;
    assert!(!termbase.said.iter().any(|line| line.contains("admin token") || line.contains(TOKEN)));
    assert!(!folder.data_dir().join("admin-token").exists());
}

/// The token of the first stands in no other place.
#[tokio::test]
async fn a_second_database_does_not_overwrite_the_token_of_the_first() {
    let folder = Folder::new("tokens");
    let databases = [Database::bare("UTF8").await, Database::bare("UTF8").await];
    for database in &databases {
        let mut termbase = Termbase::serve(&folder, &[("DATABASE_URL", &database.url())]);
        termbase.address().await;
        termbase.stop(Signal::SIGTERM).await;
    }
    for (database, file) in databases.iter().zip(["admin-token", "admin-token-2"]) {
        let token = fs::read_to_string(folder.data_dir().join(file)).unwrap();
        let mut termbase =
            Termbase::serve(&folder, &[("DATABASE_URL", &database.url()), ("TERMBASE_ADMIN_TOKEN", TOKEN)]);
        let address = termbase.address().await;
        assert_eq!(get_as(&format!("{address}/terms"), token.trim()).await.status, 200, "{file}");
        assert_eq!(get_as(&format!("{address}/terms"), TOKEN).await.status, 401, "there is a first token already");
        termbase.stop(Signal::SIGTERM).await;
        assert!(termbase.said.iter().any(|line| line.contains("TERMBASE_ADMIN_TOKEN has no effect")));
    }
}

#[tokio::test]
async fn a_token_that_can_not_be_written_down_is_said_with_its_file() {
    let (folder, database) = (Folder::new("unwritable"), Database::bare("UTF8").await);
    fs::write(folder.data_dir(), "").unwrap();
    let said = refused(&folder, &["serve"], &[("DATABASE_URL", &database.url())]).await;
    assert!(said.contains("data/admin-token") && said.contains("TERMBASE_ADMIN_TOKEN"), "{said}");
    assert_eq!(count(&mut database.connect().await, "select count(*) from api_tokens").await, 0);
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let (folder, database) = (Folder::new("encoding"), Database::bare("SQL_ASCII").await);
    for command in ["serve", "migrate"] {
        let said = refused(&folder, &[command], &[("DATABASE_URL", &database.url())]).await;
        assert!(said.contains("encoding is SQL_ASCII") && said.contains("encoding 'UTF8'"), "{said}");
    }
    let tables = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!(count(&mut database.connect().await, tables).await, 0);
}

#[tokio::test]
async fn an_unknown_database_is_said_at_once() {
    let (folder, database) = (Folder::new("unknown"), Database::bare("UTF8").await);
    let url = format!("{}&password=hunter2", database.url().replace(&database.name, "no_such_glossary"));
    for command in ["serve", "migrate"] {
        let said = refused(&folder, &[command], &[("DATABASE_URL", &url)]).await;
        assert!(said.contains("DATABASE_URL") && said.ends_with("\"no_such_glossary\" does not exist."), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn a_refused_password_is_said_at_once_and_not_shown() {
    let folder = Folder::new("password");
    let url = format!("postgres://editor:hunter2@{}/glossary?sslmode=disable", refusing_postgres());
    let said = refused(&folder, &["serve"], &[("DATABASE_URL", &url)]).await;
    assert!(said.contains("DATABASE_URL") && said.contains("password authentication failed"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn a_database_that_is_not_there_yet_is_waited_for() {
    let folder = Folder::new("waits");
    // Held, so that nobody else listens there meanwhile; a socket that does not listen refuses.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("postgres://editor:hunter2@{}/glossary", socket.local_addr().unwrap());
    let mut termbase = Termbase::serve(&folder, &[("DATABASE_URL", &url)]);
    let line = termbase.line("waiting for Postgres").await;
    assert!(!line.contains("hunter2"), "{line}");
    termbase.signal(Signal::SIGTERM);
    assert_eq!(termbase.end(AT_ONCE).await, Some(0), "{:?}", termbase.said);
}

#[tokio::test]
async fn a_signal_ends_a_start_that_waits_for_a_lock() {
    let (folder, database) = (Folder::new("locked"), Database::create(Content::Nothing).await);
    let mut other = database.connect().await;
    sqlx::raw_sql("begin; lock table _sqlx_migrations").execute(&mut other).await.unwrap();
    let mut termbase = Termbase::serve(&folder, &[("DATABASE_URL", &database.url())]);
    until_locked(&mut other).await;
    termbase.signal(Signal::SIGTERM);
    assert_eq!(termbase.end(AT_ONCE).await, Some(0), "{:?}", termbase.said);
}

#[tokio::test]
async fn a_request_without_end_is_given_up_at_a_stop() {
    let (folder, database) = (Folder::new("endless"), Database::create(Content::Samples).await);
    let variables =
        [("DATABASE_URL", &*database.url()), ("TERMBASE_DRAIN_SECONDS", "1"), ("TERMBASE_REQUEST_SECONDS", "300")];
    let mut termbase = Termbase::serve(&folder, &variables);
    let held = Held::request(&termbase.address().await, database.options()).await;
    termbase.signal(Signal::SIGTERM);
    assert_eq!(termbase.end(AT_ONCE).await, Some(0), "{:?}", termbase.said);
    held.fails().await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (folder, database) = (Folder::new("signals"), Database::create(Content::Samples).await);
    let variables =
        [("DATABASE_URL", &*database.url()), ("TERMBASE_DRAIN_SECONDS", "300"), ("TERMBASE_REQUEST_SECONDS", "300")];
    let mut termbase = Termbase::serve(&folder, &variables);
    let held = Held::request(&termbase.address().await, database.options()).await;
    termbase.signal(Signal::SIGINT);
    termbase.line("stopping").await;
    termbase.signal(Signal::SIGINT);
    assert_eq!(termbase.end(AT_ONCE).await, Some(0), "{:?}", termbase.said);
    held.fails().await;
}

// Migrations.

#[tokio::test]
async fn migrate_brings_one_s_own_database_up_to_date() {
    let (folder, database) = (Folder::new("migrate"), Database::bare("UTF8").await);
    for _ in 0..2 {
        let mut termbase = Termbase::start(&folder, &["migrate"], &[("DATABASE_URL", &database.url())]);
        assert_eq!(termbase.end(DEADLINE).await, Some(0), "{:?}", termbase.said);
        assert_eq!(termbase.said, ["the tables are up to date"]);
    }
    assert_eq!(count(&mut database.connect().await, "select count(*) from terms").await, 0);
}

#[tokio::test]
async fn migrate_without_a_database_says_what_it_needs() {
    let said = refused(&Folder::new("migrate-nothing"), &["migrate"], &[]).await;
    assert!(said.contains("DATABASE_URL"), "{said}");
}

#[tokio::test]
async fn an_address_for_migrations_alone_is_refused() {
    let folder = Folder::new("migrate-alone");
    let said = refused(&folder, &["serve"], &[("TERMBASE_MIGRATE_URL", "postgres://editor@127.0.0.1/glossary")]).await;
    assert!(said.contains("TERMBASE_MIGRATE_URL is set, and DATABASE_URL is not"), "{said}");
    assert!(!folder.data_dir().join("postgres").exists());
}

#[tokio::test]
async fn migrations_go_to_their_own_address() {
    let (folder, database) = (Folder::new("migrate-url"), Database::bare("UTF8").await);
    let wrong = database.url().replace(&database.name, "no_such_glossary");
    let variables = [("DATABASE_URL", &*database.url()), ("TERMBASE_MIGRATE_URL", &*wrong)];
    for command in ["serve", "migrate"] {
        let said = refused(&folder, &[command], &variables).await;
        assert!(said.contains("TERMBASE_MIGRATE_URL") && said.contains("no_such_glossary"), "{said}");
    }
}

#[tokio::test]
async fn an_older_instance_starts_on_newer_tables() {
    let (folder, database) = (Folder::new("newer"), Database::create(Content::Samples).await);
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
                 values (99990101000000, 'of a later version', true, '\\x00', 1)";
    sqlx::raw_sql(newer).execute(&mut database.connect().await).await.unwrap();
    let mut termbase = Termbase::serve(&folder, &[("DATABASE_URL", &database.url())]);
    let address = termbase.address().await;
    assert_eq!(get(&format!("{address}/readyz")).await.status, 200);
    assert_eq!(terms(&address).await.status, 200);
}

#[tokio::test]
async fn a_migration_that_stopped_half_way_goes_on_with_its_rows() {
    let (folder, database) = (Folder::new("half"), Database::bare("UTF8").await);
    let mut connection = database.connect().await;
    let all = sqlx::migrate!();
    let first = sqlx::migrate::Migrator { migrations: all.migrations[..1].to_vec().into(), ..sqlx::migrate!() };
    first.run(&mut connection).await.unwrap();
    let reset = "begin; select set_config('termbase.write', pg_current_xact_id()::text, true); \
                 insert into changes values (1, gen_random_uuid(), null, null, 'reset', null, null, false, false, '{}', now()); \
                 update log_head set position = 1; commit";
    sqlx::raw_sql(reset).execute(&mut connection).await.unwrap();
    let mut termbase = Termbase::serve(&folder, &[("DATABASE_URL", &database.url()), ("TERMBASE_SAMPLES", "true")]);
    let answer = terms(&termbase.address().await).await;
    assert_eq!(answer.json()["total"], 0, "samples are for a database that nothing was ever written to");
    assert!(answer.header("termbase-position").ends_with("-1"), "{}", answer.header("termbase-position"));
    let applied = i64::try_from(all.migrations.len()).unwrap();
    assert_eq!(count(&mut connection, "select count(*) from _sqlx_migrations where success").await, applied);
}

// Settings and the other commands.

#[tokio::test]
async fn a_taken_port_is_said_with_its_setting() {
    let folder = Folder::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = refused(&folder, &[], &[("TERMBASE_LISTEN", &address)]).await;
    assert!(said.contains("TERMBASE_LISTEN") && said.contains(&address), "{said}");
    assert!(!folder.data_dir().exists());
}

#[tokio::test]
async fn wrong_settings_are_said_line_by_line() {
    let folder = Folder::new("wrong");
    let said = refused(&folder, &[], &[("TERMBASE_WORKERS", "many"), ("TERMBASE_SAMPLE", "true")]).await;
    assert_eq!(
        said,
        "termbase: the settings are wrong:\n  TERMBASE_WORKERS is \"many\"; expected a whole number from 1 to 256.\n  \
         TERMBASE_SAMPLE is no setting; did you mean TERMBASE_SAMPLES?"
    );
    assert!(!folder.data_dir().exists());
}

#[tokio::test]
async fn a_file_of_settings_is_read_and_the_environment_wins() {
    let (folder, database) = (Folder::new("env"), Database::bare("UTF8").await);
    let file = "TERMBASE_CACHE_CONTROL='public, max-age=7'\nTERMBASE_SURROGATE_KEYS=true\n";
    fs::write(folder.root.join(".env"), file).unwrap();
    let url = database.url();
    let variables = [("DATABASE_URL", &*url), ("TERMBASE_SURROGATE_KEYS", "false")];
    let mut termbase = Termbase::serve(&folder, &variables);
    let answer = terms(&termbase.address().await).await;
    assert_eq!(answer.header("cache-control"), "public, max-age=7");
    assert!(!answer.headers.contains_key("surrogate-key"));
}

#[tokio::test]
async fn a_file_of_settings_in_the_folder_above_is_somebody_elses() {
    let (folder, database) = (Folder::new("parent"), Database::bare("UTF8").await);
    fs::write(folder.root.join(".env"), "TERMBASE_WORKERS=many\n").unwrap();
    let below = folder.root.join("below");
    fs::create_dir(&below).unwrap();
    let mut command = command(&below, &[("DATABASE_URL", &database.url())]);
    assert_eq!(terms(&Termbase::spawn(&mut command).address().await).await.status, 200);
}

#[tokio::test]
async fn a_broken_file_of_settings_is_named_without_its_secrets() {
    let folder = Folder::new("broken");
    fs::write(folder.root.join(".env"), "TERMBASE_LOG=info\nTERMBASE_ADMIN_TOKEN=tb_hunter2 and more\n").unwrap();
    let said = refused(&folder, &[], &[]).await;
    assert!(said.contains("line 2 of .env"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn openapi_prints_the_committed_description() {
    let folder = Folder::new("openapi");
    let output = command(&folder.root, &[]).arg("openapi").output().await.unwrap();
    assert!(output.status.success());
    let committed = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/openapi.json")).unwrap();
    assert!(output.stdout == committed);
}

#[tokio::test]
async fn a_reader_that_has_read_enough_is_no_failure() {
    let folder = Folder::new("pipe");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = command(&folder.root, &[]).arg("openapi").stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

// Tokens.

/// Runs it to its end: its exit code, what it printed, and what it said.
async fn run(folder: &Folder, words: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = timeout(DEADLINE, command(&folder.root, variables).args(words).output()).await;
    let output = output.expect("an end in time").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_token_is_made_listed_and_revoked_beside_the_service() {
    let folder = Folder::new("beside");
    let mut termbase = Termbase::serve(&folder, &[]);
    let address = termbase.address().await;
    let (code, secret, said) =
        run(&folder, &["token", "create", "Ada's editor", "--role", "editor", "--expires", "90d"], &[]).await;
    assert_eq!(code, Some(0), "{said}");
    let secret = secret.strip_suffix('\n').unwrap();
    assert!(secret.starts_with("tb_") && !secret.contains(char::is_whitespace), "the secret alone: {secret}");
    assert!(said.contains("role editor") && !said.contains(secret), "{said}");
    let me = get_as(&format!("{address}/me"), secret).await.json();
    assert_eq!((&me["name"], &me["role"]), (&"Ada's editor".into(), &"editor".into()));
    assert!(me["expires_at"].is_string());

    let (code, table, said) = run(&folder, &["token", "list"], &[]).await;
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[1].starts_with(me["id"].as_str().unwrap()) && lines[1].ends_with("Ada's editor"), "{table}");
    assert!(lines.iter().all(|line| line.is_char_boundary(lines[0].find("name").unwrap())), "{table}");
    assert!(!table.contains(secret));

    let (code, printed, said) = run(&folder, &["token", "revoke", me["id"].as_str().unwrap()], &[]).await;
    assert_eq!((code, printed.as_str()), (Some(0), ""), "{said}");
    get_as(&format!("{address}/me"), secret).await.problem(401, "invalid_token");
    assert_eq!(termbase.stop(Signal::SIGTERM).await, Some(0), "{:?}", termbase.said);
    folder.assert_ends();
}

#[tokio::test]
async fn a_lost_admin_token_is_replaced_without_the_service() {
    let folder = Folder::new("lost");
    let mut first = Termbase::serve(&folder, &[]);
    first.address().await;
    first.stop(Signal::SIGTERM).await;
    let (code, secret, said) = run(&folder, &["token", "create", "again", "--role", "admin"], &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("has no end"), "{said}");
    folder.assert_ends();
    let mut second = Termbase::serve(&folder, &[]);
    let address = second.address().await;
    assert_eq!(get_as(&format!("{address}/tokens"), secret.trim()).await.json()["total"], 2);
}

#[tokio::test]
async fn tokens_of_one_s_own_database_are_made_on_tables_that_are_brought_up_to_date() {
    let (folder, database) = (Folder::new("own-token"), Database::bare("UTF8").await);
    let url = database.url();
    let variables = [("DATABASE_URL", &*url)];
    let (code, secret, said) =
        run(&folder, &["token", "create", "first", "--role", "admin", "--expires", "2999-01-31"], &variables).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(secret.starts_with("tb_") && said.contains("expires at 2999-01-31T00:00:00"), "{said}");
    assert!(!folder.data_dir().join("postgres").exists());
    let (_, table, _) = run(&folder, &["token", "list"], &variables).await;
    let id = table.lines().nth(1).unwrap().split(' ').next().unwrap();
    let said = refused(&folder, &["token", "revoke", id], &variables).await;
    assert!(said.contains("last admin token") && said.contains("termbase token create"), "{said}");
    let said = refused(&folder, &["token", "revoke", "01a20c78-4513-7096-a7ca-781f7eec597d"], &variables).await;
    assert!(said.contains("no token with this id"), "{said}");
}

#[tokio::test]
async fn a_wrong_token_is_refused_with_what_would_pass() {
    let (folder, database) = (Folder::new("wrong-token"), Database::create(Content::Nothing).await);
    let url = database.url();
    let variables = [("DATABASE_URL", &*url)];
    let long = "n".repeat(101);
    for (name, role, expires, expected) in [
        ("n", "owner", "90d", "possible values: viewer, contributor, editor, admin"),
        ("n", "admin", "soon", "such as 90d"),
        ("n", "admin", "-1d", "such as 90d"),
        ("n", "admin", "99999d", "such as 90d"),
        ("n", "admin", "2020-01-31", "Expected a time after"),
        ("n", "admin", "0d", "Expected a time after"),
        (&long, "admin", "90d", "at most 100"),
    ] {
        let expires = format!("--expires={expires}");
        let (code, printed, said) =
            run(&folder, &["token", "create", name, "--role", role, &expires], &variables).await;
        assert_ne!(code, Some(0));
        assert!(printed.is_empty() && said.contains(expected), "{said}");
    }
    assert_eq!(count(&mut database.connect().await, "select count(*) from api_tokens").await, 0);
}

/// A process of the program, killed with this value.
pub struct Termbase {
    child: Child,
    pid: u32,
    lines: mpsc::UnboundedReceiver<String>,
    /// Every line that was read, of both outputs.
    pub said: Vec<String>,
}

impl Termbase {
    pub fn serve(folder: &Folder, variables: &[(&str, &str)]) -> Self {
        Self::start(folder, &[], variables)
    }

    fn start(folder: &Folder, words: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::spawn(command(&folder.root, variables).args(words))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = mpsc::unbounded_channel();
        forward(child.stdout.take().unwrap(), tell.clone());
        forward(child.stderr.take().unwrap(), tell);
        Self { pid: child.id().unwrap(), child, lines, said: Vec::new() }
    }

    /// Waits for the next line with this text in it.
    async fn line(&mut self, text: &str) -> String {
        loop {
            let next = timeout(DEADLINE, self.lines.recv()).await;
            let Ok(Some(line)) = next else { panic!("no line with '{text}' in {:?}", self.said) };
            self.said.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits until it serves, and returns where.
    pub async fn address(&mut self) -> String {
        self.line("listens on").await.split_once("listens on ").unwrap().1.to_owned()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid.try_into().unwrap()), signal).unwrap();
    }

    /// Waits for the end, and reads what is left.
    pub async fn end(&mut self, limit: Duration) -> Option<i32> {
        let status = timeout(limit, self.child.wait()).await;
        let Ok(status) = status else { panic!("it does not end: {:?}", self.said) };
        while let Ok(Some(line)) = timeout(DEADLINE, self.lines.recv()).await {
            self.said.push(line);
        }
        status.unwrap().code()
    }

    pub async fn stop(&mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        self.end(DEADLINE).await
    }
}

/// The program in a folder, with nothing of our environment.
fn command(folder: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(PROGRAM);
    let inherited = ["PATH", "HOME"].iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    command.env_clear().envs(inherited).env("TERMBASE_LISTEN", "127.0.0.1:0").envs(variables.iter().copied());
    command.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn forward(output: impl AsyncRead + Send + Unpin + 'static, tell: mpsc::UnboundedSender<String>) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            // A test that has ended reads no more.
            let _ = tell.send(line);
        }
    });
}

/// What it says when it refuses to start, which it does soon and with exit code 1.
async fn refused(folder: &Folder, words: &[&str], variables: &[(&str, &str)]) -> String {
    let mut termbase = Termbase::start(folder, words, variables);
    assert_eq!(termbase.end(AT_ONCE).await, Some(1), "{:?}", termbase.said);
    termbase.said.join("\n")
}

async fn try_get(url: String, token: Option<String>) -> Result<Answer, reqwest::Error> {
    let request = client().get(url).timeout(DEADLINE);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    Ok(Answer::of(request.send().await?).await)
}

async fn get(url: &str) -> Answer {
    try_get(url.to_owned(), None).await.unwrap()
}

async fn get_as(url: &str, token: &str) -> Answer {
    try_get(url.to_owned(), Some(token.to_owned())).await.unwrap()
}

/// The first page of terms.
async fn terms(address: &str) -> Answer {
    get(&format!("{address}/terms")).await
}

/// The same, as soon as another server than this one gives it. Until then the answer is the old one, or 503.
pub async fn serves_again(address: &str, folder: &Folder, server: Pid) -> Answer {
    let again = async {
        loop {
            let is_another = folder.find_server().is_some_and(|found| found != server);
            let answer = terms(address).await;
            if is_another && answer.status == 200 {
                return answer;
            }
            assert!([200, 503].contains(&answer.status.as_u16()), "{answer:?}");
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, again).await.expect("an answer in time")
}

/// The database of the private cluster that runs in a folder.
pub fn private(folder: &Folder) -> PgConnectOptions {
    let options = PgConnectOptions::new_without_pgpass().socket(folder.place().socket_dir());
    options.username(session::USER).database(session::DATABASE)
}

/// A request for the terms that waits for a lock of ours.
struct Held {
    lock: PgConnection,
    answer: JoinHandle<Result<Answer, reqwest::Error>>,
}

impl Held {
    async fn request(address: &str, database: PgConnectOptions) -> Self {
        let mut lock = PgConnection::connect_with(&database).await.unwrap();
        sqlx::raw_sql("begin; lock table terms").execute(&mut lock).await.unwrap();
        let answer = tokio::spawn(try_get(format!("{address}/terms"), None));
        until_locked(&mut lock).await;
        Held { lock, answer }
    }

    /// Cut off, or told so, as long as the lock is held.
    async fn fails(self) {
        if let Ok(answer) = self.answer.await.unwrap() {
            assert_eq!(answer.status, 503);
        }
    }

    async fn release(&mut self) {
        sqlx::raw_sql("commit").execute(&mut self.lock).await.unwrap();
    }
}

/// Waits until somebody waits for a lock in this database.
pub async fn until_locked(connection: &mut PgConnection) {
    // Not `pg_stat_activity`: within a transaction, such as that of the lock's holder, it stays as at the first look.
    // Who waits for a row waits for the transaction that holds it, which belongs to no database: so by what it holds.
    let waiting = "select count(*) from pg_locks waiting where not granted and exists (\
                       select from pg_locks held where held.pid = waiting.pid \
                          and held.database = (select oid from pg_database where datname = current_database()))";
    let locked = async { while count(connection, waiting).await == 0 {} };
    timeout(DEADLINE, locked).await.expect("somebody who waits for the lock");
}

pub async fn count(connection: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(connection).await.unwrap()
}

/// The address of a Postgres that refuses its only client's password.
fn refusing_postgres() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        // The message that opens a session begins with its length.
        let mut length = [0; 4];
        client.read_exact(&mut length).unwrap();
        client.read_exact(&mut vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4]).unwrap();
        let fields = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"editor\"\0\0";
        let length = u32::try_from(fields.len() + 4).unwrap();
        client.write_all(&[b"E", &length.to_be_bytes()[..], fields].concat()).unwrap();
    });
    address
}

/// Its supervisor starts it again three times a minute; then there is a reason that would last.
#[tokio::test]
async fn a_postgres_that_keeps_dying_ends_the_service_with_its_log() {
    let folder = Folder::new("keeps-dying");
    let mut termbase = Termbase::serve(&folder, &[]);
    termbase.address().await;
    let supervisor = folder.supervisor();
    let mut last = None;
    for _ in 0..4 {
        let server = wait_for_some("another server", || folder.find_server().filter(|server| Some(*server) != last));
        kill(server, Signal::SIGKILL).unwrap();
        last = Some(server);
    }
    let code = termbase.end(DEADLINE).await;
    assert_eq!(code, Some(1));
    let said = termbase.said.join("\n");
    assert!(said.contains("keeps dying") && said.contains("ended 4 times within a minute"), "{said}");
    for left in last.into_iter().chain([supervisor]) {
        assert!(kill(left, None).is_err(), "process {left} is left");
    }
}

/// The private server and we agree on each other, whatever libpq's variables say.
#[tokio::test]
async fn the_variables_of_libpq_do_not_reach_the_private_postgres() {
    let folder = Folder::new("libpq");
    let odd = [("PGPORT", "1"), ("PGHOST", "nowhere.invalid"), ("PGUSER", "nobody"), ("PGSSLMODE", "require")];
    for _ in 0..2 {
        let mut termbase = Termbase::serve(&folder, &odd);
        let address = termbase.address().await;
        assert_eq!(get(&format!("{address}/terms")).await.status, 200);
        termbase.stop(Signal::SIGTERM).await;
    }
    let said = refused(&folder, &["serve"], &[("PGOPTIONS", "--x=y")]).await;
    assert!(said.contains("PGOPTIONS is set"), "{said}");
}

/// A full disk or a crash leaves such files.
#[tokio::test]
async fn a_lock_file_of_rubbish_does_not_stop_a_start() {
    let folder = Folder::new("rubbish");
    for rubbish in [None, Some(""), Some("\u{1}\u{2}rubbish\n"), Some("1\n/nowhere\n")] {
        if let Some(rubbish) = rubbish {
            fs::write(folder.place().data().join("postmaster.pid"), rubbish).unwrap();
        }
        let mut termbase = Termbase::serve(&folder, &[]);
        let address = termbase.address().await;
        assert_eq!(get(&format!("{address}/terms/foundation-model")).await.status, 200);
        termbase.stop(Signal::SIGTERM).await;
    }
}
