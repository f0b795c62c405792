//! A connection to Postgres that can fail as networks do.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};

/// What a wire does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    /// Bytes vanish, in both directions, and no socket is closed: as a firewall that has forgotten a connection.
    Swallow,
    /// What is there is closed, and so is what comes.
    Cut,
}

/// A proxy before Postgres' socket, on a port of its own.
pub struct Wire {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// How long each request to Postgres is held, in microseconds: a database that is far, or slow.
    delay_us: AtomicU64,
    /// Whether notifications are left out, as behind a proxy that pools transactions.
    deaf: AtomicBool,
    /// How many statements Postgres has completed.
    statements: AtomicU64,
}

impl Wire {
    pub async fn lay(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, watched) = watch::channel(Mode::Open);
        let shared = Arc::new(Shared::default());
        let accepting = tokio::spawn(accept(listener, socket, watched, shared.clone()));
        Wire { address, mode, shared, accepting }
    }

    /// The database behind it.
    pub fn url(&self) -> String {
        format!("postgres://termbase@{}/termbase?sslmode=disable", self.address)
    }

    /// From now on all bytes vanish. A connection that lost some never comes back, as none does whose bytes are lost.
    pub fn swallow(&self) {
        self.mode.send_replace(Mode::Swallow);
    }

    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    pub fn mend(&self) {
        self.mode.send_replace(Mode::Open);
    }

    pub fn delay(&self, delay: Duration) {
        self.shared.delay_us.store(u64::try_from(delay.as_micros()).unwrap(), Ordering::Relaxed);
    }

    /// How many statements have been completed over it so far.
    pub fn statements(&self) -> u64 {
        self.shared.statements.load(Ordering::Relaxed)
    }

    pub fn deafen(&self, deaf: bool) {
        self.shared.deaf.store(deaf, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
        self.mode.send_replace(Mode::Cut);
    }
}

async fn accept(listener: TcpListener, socket: PathBuf, mode: watch::Receiver<Mode>, shared: Arc<Shared>) {
    while let Ok((near, _)) = listener.accept().await {
        tokio::spawn(carry(near, socket.clone(), mode.clone(), shared.clone()));
    }
}

/// One connection, from its beginning to its end.
async fn carry(mut near: TcpStream, socket: PathBuf, mode: watch::Receiver<Mode>, shared: Arc<Shared>) {
    // Who connects while all is swallowed gets as far as the kernel's handshake.
    let mut first = mode.clone();
    if *first.borrow_and_update() == Mode::Swallow {
        let cut = async { while first.changed().await.is_ok() && *first.borrow() != Mode::Cut {} };
        tokio::select! {
            () = cut => {}
            () = drain(&mut near) => {}
        }
        return;
    }
    let Ok(far) = UnixStream::connect(socket).await else { return };
    let _ = near.set_nodelay(true);
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let lost = AtomicBool::new(false);
    let pump = |toward_server: bool| Pump { mode: mode.clone(), lost: &lost, shared: &shared, toward_server };
    // Where one side ends, both do: Postgres knows no half-closed connection.
    tokio::select! {
        _ = pump(true).run(near_read, far_write) => {}
        _ = pump(false).run(far_read, near_write) => {}
    }
}

/// Reads to the end, for nobody.
async fn drain(near: &mut TcpStream) {
    let mut buffer = [0; 1024];
    while near.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

/// One direction of a connection.
struct Pump<'c> {
    mode: watch::Receiver<Mode>,
    /// Whether the connection has lost bytes: then it loses all that follow, and is never closed from here.
    lost: &'c AtomicBool,
    shared: &'c Shared,
    toward_server: bool,
}

impl Pump<'_> {
    async fn run(mut self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> std::io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        let mut frames = Frames::default();
        loop {
            let count = tokio::select! {
                count = from.read(&mut buffer) => count?,
                _ = self.mode.changed() => {
                    if *self.mode.borrow_and_update() == Mode::Cut {
                        return Ok(());
                    }
                    continue;
                }
            };
            let mode = *self.mode.borrow();
            if mode == Mode::Swallow {
                self.lost.store(true, Ordering::Relaxed);
            }
            if count == 0 && self.lost.load(Ordering::Relaxed) && !self.toward_server {
                // The server gave up on it; who is here never hears of that.
                std::future::pending::<()>().await;
            }
            if count == 0 || mode == Mode::Cut {
                return Ok(());
            }
            if self.lost.load(Ordering::Relaxed) {
                continue;
            }
            let bytes = buffer.get(..count).unwrap_or_default();
            if self.toward_server {
                let delay = self.shared.delay_us.load(Ordering::Relaxed);
                if delay > 0 {
                    tokio::time::sleep(Duration::from_micros(delay)).await;
                }
                to.write_all(bytes).await?;
            } else {
                to.write_all(&frames.pass(bytes, self.shared)).await?;
            }
        }
    }
}

/// The server's messages, which begin with a letter and their length; cut out of what is read, wherever that ends.
#[derive(Default)]
struct Frames {
    /// The head of a message, as far as it has come.
    head: Vec<u8>,
    /// How much of the current message is to come.
    rest: usize,
    dropping: bool,
}

impl Frames {
    /// What is passed on of these bytes.
    fn pass(&mut self, mut bytes: &[u8], shared: &Shared) -> Vec<u8> {
        let mut passed = Vec::with_capacity(bytes.len());
        while let Some((byte, after)) = bytes.split_first() {
            if self.rest > 0 {
                let (now, later) = bytes.split_at(self.rest.min(bytes.len()));
                if !self.dropping {
                    passed.extend_from_slice(now);
                }
                self.rest -= now.len();
                bytes = later;
                continue;
            }
            self.head.push(*byte);
            bytes = after;
            if let [kind, length @ ..] = self.head.as_slice()
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                // NotificationResponse and CommandComplete.
                self.dropping = *kind == b'A' && shared.deaf.load(Ordering::Relaxed);
                if *kind == b'C' {
                    shared.statements.fetch_add(1, Ordering::Relaxed);
                }
                self.rest = usize::try_from(u32::from_be_bytes(length)).unwrap().saturating_sub(4);
                if !self.dropping {
                    passed.extend_from_slice(&self.head);
                }
                self.head.clear();
            }
        }
        passed
    }
}
