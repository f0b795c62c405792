//! The private Postgres, driven as a user's process would, and killed in every way that we could think of.
//!
//! 'A user' is this test binary itself, started once more (see [`a_user_of_the_cluster`]), so that it can be killed.
//! Each test ends with the proof that no process of its cluster is left.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, Uid};
use termbase::postgres::cluster::{Cluster, ClusterError, Options};
use termbase::postgres::locks::ServeLock;
use termbase::postgres::place::Place;
use termbase::postgres::session;

const PROGRAM: &str = env!("CARGO_BIN_EXE_termbase");
const DEADLINE: Duration = Duration::from_mins(1);
const NOBODY: u32 = 65534;

#[test]
fn a_server_lives_as_long_as_its_last_user() {
    let folder = Folder::new("users");
    let first = folder.attach();
    let second = folder.attach();
    let server = folder.server();
    drop(first);
    assert_eq!(psql(&second, "select current_user || '@' || current_database()"), "termbase@termbase");
    assert_eq!(folder.server(), server);
    drop(second);
    folder.assert_ends();
}

#[test]
fn the_database_folds_letters_beyond_ascii() {
    let folder = Folder::new("letters");
    let cluster = folder.attach();
    assert_eq!(psql(&cluster, "select lower('É') || ' ' || current_setting('server_encoding')"), "é UTF8");
    assert_eq!(psql(&cluster, "select datcollate from pg_database where datname = 'termbase'"), "C");
    assert_eq!(
        psql(&cluster, "create extension pg_trgm; select show_trgm('éa') <> show_trgm('èa')"),
        "CREATE EXTENSION\nt"
    );
    assert_eq!(
        psql(
            &cluster,
            "select current_setting('data_checksums') || current_setting('fsync') || current_setting('listen_addresses')"
        ),
        "onon"
    );
}

#[test]
fn only_the_servers_user_and_root_get_to_the_socket() {
    let folder = Folder::new("private");
    let cluster = folder.attach();
    let socket = cluster.socket_dir().metadata().unwrap();
    assert_eq!(socket.mode() & 0o777, 0o700);
    assert_eq!(socket.uid(), folder.place().data().metadata().unwrap().uid());
    assert_ne!(socket.uid(), 0);
}

#[test]
fn a_socket_folder_that_leads_elsewhere_is_refused() {
    let folder = Folder::new("symlink");
    fs::create_dir_all(folder.data_dir()).unwrap();
    symlink("/tmp", folder.data_dir().join("socket")).unwrap();
    let error = folder.try_attach(&mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("it is no folder"), "{error}");
}

#[test]
fn a_killed_user_takes_the_server_along() {
    let folder = Folder::new("user");
    let mut user = User::start(&folder);
    user.wait_until_ready();
    user.kill();
    folder.assert_ends();
    drop(folder.attach());
    folder.assert_ends();
}

#[test]
fn a_killed_supervisor_is_noticed_and_replaced() {
    let folder = Folder::new("supervisor");
    let cluster = folder.attach();
    psql(&cluster, "create table kept (n int); insert into kept values (42)");
    let server = folder.server();
    kill(folder.supervisor(), Signal::SIGKILL).unwrap();
    assert!(within(DEADLINE, cluster.watch()), "nobody noticed");
    let mut said = Vec::new();
    let again = folder.try_attach(&mut |line| said.push(line.to_owned())).unwrap();
    assert!(said.iter().any(|line| line.contains("left behind")), "{said:?}");
    assert_ne!(folder.server(), server);
    assert_eq!(psql(&again, "select n from kept"), "42");
    drop((cluster, again));
    folder.assert_ends();
}

#[test]
fn a_killed_server_is_started_again_with_its_data() {
    let folder = Folder::new("server");
    let cluster = folder.attach();
    psql(&cluster, "create table kept (n int); insert into kept values (42)");
    let (server, supervisor) = (folder.server(), folder.supervisor());
    // A backend at work notices the death of its server late, and keeps the shared memory until then.
    let mut busy = psql_process(&cluster, "select count(*) from generate_series(1, 1e10)");
    wait_for("the busy backend", || {
        psql(&cluster, "select count(*) from pg_stat_activity where query like '%1e10%'") == "2"
    });
    kill(server, Signal::SIGKILL).unwrap();
    wait_for("the server's return", || folder.find_server().is_some_and(|pid| pid != server) && folder.answers());
    assert_eq!(folder.supervisor(), supervisor);
    assert_eq!(psql(&cluster, "select n from kept"), "42");
    busy.wait().unwrap();
    drop(cluster);
    folder.assert_ends();
}

#[test]
fn a_server_that_keeps_dying_ends_its_supervisor() {
    let folder = Folder::new("dying");
    let cluster = folder.attach();
    let mut last = None;
    for _ in 0..4 {
        let another = || folder.find_server().filter(|server| Some(*server) != last && folder.answers());
        let server = wait_for_some("another server", another);
        kill(server, Signal::SIGKILL).unwrap();
        last = Some(server);
    }
    assert!(within(DEADLINE, cluster.watch()), "the supervisor goes on");
    assert!(cluster.last_log_lines(3).contains("ended 4 times within a minute"), "{}", cluster.last_log_lines(3));
    let again = folder.attach();
    assert_eq!(psql(&again, "select 1"), "1");
    drop((cluster, again));
    folder.assert_ends();
}

#[test]
fn all_killed_at_once_leave_nothing_that_hinders() {
    let folder = Folder::new("all");
    let mut user = User::start(&folder);
    user.wait_until_ready();
    let (server, supervisor) = (folder.server(), folder.supervisor());
    for pid in [server, supervisor, user.pid()] {
        kill(pid, Signal::SIGKILL).unwrap();
    }
    user.kill();
    let cluster = folder.attach();
    assert_eq!(psql(&cluster, "select 1"), "1");
    drop(cluster);
    folder.assert_ends();
}

#[test]
fn a_server_without_supervisor_and_user_is_stopped_by_the_next() {
    let folder = Folder::new("orphan");
    let mut user = User::start(&folder);
    user.wait_until_ready();
    let server = folder.server();
    // Stopped first, so that it can't use the moment in which the user is gone already.
    kill(folder.supervisor(), Signal::SIGSTOP).unwrap();
    user.kill();
    kill(folder.supervisor(), Signal::SIGKILL).unwrap();
    wait_for("the supervisor's end", || folder.lock_is_free());
    assert_eq!(folder.find_server(), Some(server));
    let mut said = Vec::new();
    let cluster = folder.try_attach(&mut |line| said.push(line.to_owned())).unwrap();
    assert!(said.iter().any(|line| line.contains("left behind")), "{said:?}");
    drop(cluster);
    folder.assert_ends();
}

#[test]
fn a_supervisor_killed_at_its_start_is_started_again() {
    let folder = Folder::new("at-start");
    drop(folder.attach());
    folder.assert_ends();
    std::thread::scope(|scope| {
        let attached = scope.spawn(|| folder.attach());
        // It takes the lock before it writes who it is.
        wait_for("a supervisor", || !folder.lock_is_free() && folder.find_supervisor().is_some());
        let _ = kill(folder.supervisor(), Signal::SIGKILL);
        let cluster = attached.join().unwrap();
        // The kill may have come just after the server's first answer: then its user is told.
        let cluster = if folder.lock_is_free() { folder.attach() } else { cluster };
        assert_eq!(psql(&cluster, "select 1"), "1");
    });
    folder.assert_ends();
}

#[test]
fn a_supervisor_that_is_asked_to_end_stops_its_server() {
    let folder = Folder::new("term");
    let cluster = folder.attach();
    kill(folder.supervisor(), Signal::SIGTERM).unwrap();
    assert!(within(DEADLINE, cluster.watch()), "it stays");
    folder.assert_ends();
    let again = folder.attach();
    drop((cluster, again));
    folder.assert_ends();
}

#[test]
fn an_initdb_killed_half_way_is_begun_anew() {
    let folder = Folder::new("initdb");
    let mut user = User::start(&folder);
    wait_for("a database in the making", || folder.unfinished().iter().any(|new| new.join("base").exists()));
    // With its children, as Ctrl-\ or a container's end would.
    killpg(user.pid(), Signal::SIGKILL).unwrap();
    user.kill();
    assert!(!folder.place().data().exists());
    assert_eq!(folder.unfinished().len(), 1);
    let cluster = folder.attach();
    assert!(folder.unfinished().is_empty());
    drop(cluster);
    folder.assert_ends();
}

#[test]
fn an_initdb_whose_starter_was_killed_is_in_nobodys_way() {
    let folder = Folder::new("initdb-alone");
    let mut user = User::start(&folder);
    wait_for("a database in the making", || folder.unfinished().iter().any(|new| new.join("base").exists()));
    user.kill();
    let cluster = folder.attach();
    assert_eq!(psql(&cluster, "select 1"), "1");
    drop(cluster);
    folder.assert_ends();
}

#[test]
fn a_stale_pid_file_names_nobody_who_gets_hurt() {
    let folder = Folder::new("stale");
    drop(folder.attach());
    folder.assert_ends();
    let data = folder.place().data();
    let mut bystander = Command::new("sleep").arg("600").spawn().unwrap();
    // A process of ours, one of the server's user, and none at all.
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    for pid in [std::process::id(), bystander.id(), gone.id()] {
        fs::write(data.join("postmaster.pid"), format!("{pid}\n{}\n1700000000\n5432\n", data.display())).unwrap();
        fs::write(folder.place().socket_lock(), format!("{pid}\n")).unwrap();
        chown(data.join("postmaster.pid"), Some(data.metadata().unwrap().uid()), None).unwrap();
        chown(folder.place().socket_lock(), Some(data.metadata().unwrap().uid()), None).unwrap();
        let cluster = folder.attach();
        assert_eq!(psql(&cluster, "select 1"), "1");
        drop(cluster);
        folder.assert_ends();
    }
    assert!(bystander.try_wait().unwrap().is_none(), "somebody else was ended");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn processes_that_come_at_once_share_one_server() {
    let folder = Folder::new("at-once");
    let mut users: Vec<User> = (0..4).map(|_| User::start(&folder)).collect();
    let urls: Vec<String> = users.iter_mut().map(User::wait_until_ready).collect();
    assert!(urls.iter().all(|url| url == &urls[0]), "{urls:?}");
    assert!(folder.unfinished().is_empty());
    let server = folder.server();
    for user in users.drain(1..) {
        drop(user);
    }
    assert_eq!(folder.server(), server);
    drop(users);
    folder.assert_ends();
}

#[test]
fn who_comes_while_the_server_is_stopping_gets_a_new_one() {
    let folder = Folder::new("stopping");
    drop(folder.attach());
    for _ in 0..5 {
        let cluster = folder.attach();
        assert_eq!(psql(&cluster, "select 1"), "1");
        // At once, not when it has ended: that is the point.
        drop(cluster);
    }
    folder.assert_ends();
}

#[test]
fn a_server_lingers_for_the_next_user() {
    let mut folder = Folder::new("linger");
    folder.linger = Duration::from_secs(2);
    drop(folder.attach());
    let server = folder.server();
    let cluster = folder.attach();
    assert_eq!(folder.server(), server);
    drop(cluster);
    folder.assert_ends();
}

#[test]
fn data_of_a_postgres_that_is_not_here_are_left_alone() {
    let folder = Folder::new("version");
    drop(folder.attach());
    folder.assert_ends();
    let version = folder.place().data().join("PG_VERSION");
    let own = fs::read_to_string(&version).unwrap();
    for major in ["13", "99"] {
        fs::write(&version, format!("{major}\n")).unwrap();
        let error = folder.try_attach(&mut |_| {}).unwrap_err();
        assert!(matches!(error, ClusterError::OtherMajor { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("written by Postgres {major}")) && text.contains("pg_dumpall"), "{text}");
    }
    fs::write(&version, "rubbish\n").unwrap();
    assert!(matches!(folder.try_attach(&mut |_| {}), Err(ClusterError::NoData { .. })));
    fs::write(&version, own).unwrap();
    drop(folder.attach());
    folder.assert_ends();
}

#[test]
fn a_wrong_pg_bin_dir_says_so() {
    let folder = Folder::new("bin-dir");
    let options = Options { bin_dir: Some("/etc".into()), ..folder.options() };
    let error = Cluster::attach(&options, &mut |_| {}).unwrap_err().to_string();
    assert!(error.starts_with("PG_BIN_DIR is /etc") && error.contains("no program 'postgres'"), "{error}");
}

#[test]
fn an_ordinary_user_has_a_cluster_too() {
    let folder = Folder::new("ordinary");
    if !Uid::effective().is_root() {
        // Every other test has shown it.
        return;
    }
    // The build's folder may be closed to others.
    let (program, tests) = (folder.root.join("termbase"), folder.root.join("tests"));
    fs::copy(PROGRAM, &program).unwrap();
    fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    for copy in [&program, &tests] {
        fs::set_permissions(copy, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::create_dir(folder.data_dir()).unwrap();
    chown(folder.data_dir(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = User::command(&folder, &tests, &program);
    command.uid(NOBODY).gid(NOBODY);
    let mut user = User::spawn(&mut command);
    user.wait_until_ready();
    assert_eq!(folder.place().data().metadata().unwrap().uid(), NOBODY);
    assert_eq!(fs::metadata(format!("/proc/{}", folder.supervisor())).unwrap().uid(), NOBODY);
    // Root comes to the same folder: the same cluster, by the same user's server.
    let server = folder.server();
    let cluster = folder.attach();
    assert_eq!(folder.server(), server);
    user.kill();
    assert_eq!(psql(&cluster, "select 1"), "1");
    drop(cluster);
    folder.assert_ends();
    // And what root left there is no obstacle for the user.
    drop(folder.attach());
    folder.assert_ends();
    let mut user = User::spawn(&mut command);
    user.wait_until_ready();
    user.kill();
    folder.assert_ends();
}

#[test]
fn roots_closed_folder_has_its_cluster_elsewhere() {
    let mut folder = Folder::new("closed");
    if !Uid::effective().is_root() {
        return;
    }
    folder.root = folder.root.join("closed");
    fs::create_dir(&folder.root).unwrap();
    fs::set_permissions(&folder.root, fs::Permissions::from_mode(0o700)).unwrap();
    let mut said = Vec::new();
    let cluster = folder.try_attach(&mut |line| said.push(line.to_owned())).unwrap();
    let place = cluster.folder().to_owned();
    assert!(place.starts_with("/var/lib/termbase"), "{}", place.display());
    assert!(said.iter().any(|line| line.contains(&*place.to_string_lossy())), "{said:?}");
    assert_eq!(psql(&cluster, "create table kept (); select 1"), "CREATE TABLE\n1");
    drop(cluster);
    // The way is free now, but the data are where they are.
    fs::set_permissions(&folder.root, fs::Permissions::from_mode(0o755)).unwrap();
    let cluster = folder.attach();
    assert_eq!(cluster.folder(), place);
    assert_eq!(psql(&cluster, "select count(*) from kept"), "0");
    drop(cluster);
    wait_for("the end of all processes", || processes_in(&place).is_empty());
    fs::remove_dir_all(&place).unwrap();
    // Unless there are others.
    let _ = fs::remove_dir("/var/lib/termbase");
    folder.root.pop();
}

#[test]
fn data_removed_under_a_running_server_are_made_anew() {
    let folder = Folder::new("removed");
    let cluster = folder.attach();
    fs::remove_dir_all(folder.data_dir()).unwrap();
    assert!(within(DEADLINE, cluster.watch()), "nobody noticed");
    let again = folder.attach();
    assert_eq!(psql(&again, "select 1"), "1");
    // Nor does the old supervisor get into the new one's way with what it does now.
    drop(cluster);
    assert_eq!(psql(&again, "select 1"), "1");
    drop(again);
    folder.assert_ends();
}

#[test]
fn a_very_long_path_is_no_obstacle() {
    let mut folder = Folder::new("long");
    folder.name = format!("{0}/{0}/a 'quoted', \"odd\" name/{0}", "x".repeat(60));
    let cluster = folder.attach();
    let sockets = cluster.socket_dir();
    assert!(sockets.starts_with("/tmp"), "{}", sockets.display());
    assert_eq!(sockets.metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(psql(&cluster, "select 1"), "1");
    drop(cluster);
    folder.assert_ends();
    fs::remove_dir_all(sockets).unwrap();
}

#[test]
fn one_serve_at_a_time() {
    let folder = Folder::new("serve");
    let first = ServeLock::take(&folder.data_dir()).unwrap();
    let error = ServeLock::take(&folder.data_dir()).unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    drop(first);
    // The file stays, and is no lock.
    fs::write(folder.data_dir().join("serve.lock"), "4711\n").unwrap();
    ServeLock::take(&folder.data_dir()).unwrap();
}

/// Not a test: the process that the tests above start and kill. It attaches, says so, and waits for its end.
#[test]
#[ignore = "a part of other tests"]
fn a_user_of_the_cluster() {
    let Some(data_dir) = std::env::var_os("TERMBASE_TEST_DATA") else { return };
    let program = std::env::var_os("TERMBASE_TEST_PROGRAM").unwrap();
    let cluster = Cluster::attach(&options(data_dir.into(), program.into(), Duration::ZERO), &mut |_| {}).unwrap();
    println!("@ready {}", cluster.url(session::DATABASE));
    std::io::stdin().lines().for_each(drop);
}

fn options(data_dir: PathBuf, program: PathBuf, linger: Duration) -> Options {
    Options { program, data_dir, bin_dir: None, path: std::env::var_os("PATH"), cache_dir: None, linger }
}

/// A folder of a test's own, removed with all that runs in it.
pub struct Folder {
    pub root: PathBuf,
    name: String,
    linger: Duration,
}

impl Folder {
    pub fn new(test: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("tb-{}-{number}-{test}", std::process::id()));
        fs::create_dir(&root).unwrap();
        // Whatever our umask: as root the server's user has to get through.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        Self { root, name: "data".to_owned(), linger: Duration::ZERO }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    fn options(&self) -> Options {
        options(self.data_dir(), PROGRAM.into(), self.linger)
    }

    fn try_attach(&self, progress: &mut (dyn FnMut(&str) + Send)) -> Result<Cluster, ClusterError> {
        Cluster::attach(&self.options(), progress)
    }

    fn attach(&self) -> Cluster {
        self.try_attach(&mut |_| {}).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The files of the cluster, where it is in the data folder itself.
    pub fn place(&self) -> Place {
        Place::known(self.data_dir(), None)
    }

    pub fn find_server(&self) -> Option<Pid> {
        first_line_pid(&self.place().data().join("postmaster.pid"))
    }

    pub fn server(&self) -> Pid {
        self.find_server().expect("a server")
    }

    fn find_supervisor(&self) -> Option<Pid> {
        first_line_pid(&self.place().supervisor_lock())
    }

    pub fn supervisor(&self) -> Pid {
        self.find_supervisor().expect("a supervisor")
    }

    fn lock_is_free(&self) -> bool {
        // A file that is not there yet was never locked.
        fs::File::open(self.place().supervisor_lock()).map_or(true, |file| file.try_lock_shared().is_ok())
    }

    fn answers(&self) -> bool {
        session::ensure_database(&self.place().socket()).is_ok()
    }

    /// Databases in the making.
    fn unfinished(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data_dir()).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.to_string_lossy().contains("postgres.new-")).collect()
    }

    /// Waits until neither server nor supervisor is left.
    pub fn assert_ends(&self) {
        wait_for("the end of all processes", || processes_in(&self.data_dir()).is_empty() && self.lock_is_free());
        assert_eq!(self.find_server(), None, "the server did not end in order");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let start = Instant::now();
        while !processes_in(&self.root).is_empty() && start.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A process that uses the cluster; it ends with this value.
struct User {
    process: Child,
}

impl User {
    fn start(folder: &Folder) -> Self {
        Self::spawn(&mut Self::command(folder, &std::env::current_exe().unwrap(), Path::new(PROGRAM)))
    }

    fn command(folder: &Folder, tests: &Path, program: &Path) -> Command {
        // The name of the test without that of the binary, which is what the test runner knows it by.
        let (_, module) = module_path!().split_once("::").unwrap_or_default();
        let name = if module.is_empty() { String::new() } else { format!("{module}::") } + "a_user_of_the_cluster";
        let mut command = Command::new(tests);
        command.args([&name, "--exact", "--ignored", "--nocapture"]);
        command.env("TERMBASE_TEST_DATA", folder.data_dir()).env("TERMBASE_TEST_PROGRAM", program);
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        command
    }

    fn spawn(command: &mut Command) -> Self {
        loop {
            match command.spawn() {
                Ok(process) => return Self { process },
                // A program that was just copied: what another test started at that moment still holds the file that was
                // written, until it becomes another program.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().try_into().unwrap())
    }

    /// Returns the address that it was given.
    fn wait_until_ready(&mut self) -> String {
        let lines = BufReader::new(self.process.stdout.take().unwrap()).lines();
        let ready = lines.map(Result::unwrap).find_map(|line| Some(line.split_once("@ready ")?.1.to_owned()));
        ready.expect("the user attaches")
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs SQL by the very line that termbase prints for it.
fn psql(cluster: &Cluster, sql: &str) -> String {
    let output = psql_process(cluster, sql).wait_with_output().unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn psql_process(cluster: &Cluster, sql: &str) -> Child {
    let line = format!("{} --no-psqlrc -v ON_ERROR_STOP=1 -Atc \"$SQL\"", cluster.psql_command(session::DATABASE));
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).env("SQL", sql).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell.spawn().unwrap()
}

fn first_line_pid(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().next()?.parse().ok().map(Pid::from_raw)
}

/// The processes that work in a folder or name it: server, backends, supervisor, initdb.
fn processes_in(folder: &Path) -> Vec<String> {
    let us = std::process::id().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok() && *entry.file_name() != *us)
        .filter_map(|entry| {
            let command = String::from_utf8_lossy(&fs::read(entry.path().join("cmdline")).ok()?).replace('\0', " ");
            let here = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
            (here || command.contains(&*folder.to_string_lossy())).then_some(command)
        })
        .collect()
}

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    wait_for_some(what, || happened().then_some(()));
}

pub fn wait_for_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a future comes to its end in time.
fn within(limit: Duration, future: impl Future<Output = ()>) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(limit, future).await.is_ok() })
}
