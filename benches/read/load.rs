//! The load generator: connections that are kept, requests that are ready bytes, answers that are counted and not kept.
//!
//! It is our own. `wrk` waits for an answer before it sends the next request also where it measures latency, and so leaves
//! out the requests that a stall would have met (coordinated omission). `wrk2` and `oha` correct that, but start and connect
//! anew for each round, so that a server's CPU time can't be read around the requests alone, and ask for one address, or a
//! list in an order of their own. This one asks for 100,000 in ours, goes on where it was in the next round, and takes
//! little of the cores that it shares with the server; every report says how much. Most of it is the kernel's.
//!
//! [`closed`] finds the highest rate: each connection asks again as soon as it has its answer. [`open`] measures latency at
//! a given rate: requests are due at times that were fixed before, whoever is free sends the next one, and latency counts
//! from when it was due. Where the server stalls, all that came due meanwhile waits, and its waiting is measured.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

/// More than any answer that is asked for; a longer one is read in parts.
const BUFFER_BYTES: usize = 64 * 1024;
/// An answer with more is none of ours.
const HEADERS_MAX: usize = 32;
/// Requests come due at these distances, some at a time: a timer can't be much finer without costing what it measures.
const TICK: Duration = Duration::from_micros(200);
/// After the last request of an open round is due, so long is waited for those that have not been sent.
const GRACE: Duration = Duration::from_secs(2);

/// One thing to ask for: an address, and the lines of headers beside those that every request has.
#[derive(Debug, Clone)]
pub struct Ask {
    pub address: String,
    pub headers: String,
}

impl Ask {
    pub fn plain(address: impl Into<String>) -> Self {
        Ask { address: address.into(), headers: String::new() }
    }

    /// As browsers say it.
    pub fn coded(address: impl Into<String>) -> Self {
        Ask::with(address, "Accept-Encoding: gzip, deflate, br, zstd\r\n")
    }

    pub fn with(address: impl Into<String>, headers: impl Into<String>) -> Self {
        Ask { address: address.into(), headers: headers.into() }
    }
}

/// Requests in their order, which begins again at its end; across rounds it goes on where it was.
pub struct Requests {
    server: SocketAddr,
    texts: Vec<Box<[u8]>>,
    /// The status that every answer must have.
    status: u16,
    next: AtomicUsize,
}

impl Requests {
    pub fn of(server: SocketAddr, status: u16, asks: impl IntoIterator<Item = Ask>) -> Arc<Self> {
        let text = |ask: Ask| {
            let Ask { address, headers } = ask;
            format!("GET {address} HTTP/1.1\r\nHost: {server}\r\nAccept: application/json\r\n{headers}\r\n")
        };
        let texts: Vec<Box<[u8]>> = asks.into_iter().map(|ask| text(ask).into_bytes().into()).collect();
        assert!(!texts.is_empty(), "there is something to ask for");
        Arc::new(Requests { server, texts, status, next: AtomicUsize::new(0) })
    }

    fn next(&self) -> &[u8] {
        &self.texts[self.next.fetch_add(1, Ordering::Relaxed) % self.texts.len()]
    }
}

/// What a closed round brought.
#[derive(Debug, Clone, Copy, Default)]
pub struct Closed {
    pub answers: u64,
    /// Answers of another status than the wanted, and broken connections.
    pub strange: u64,
    pub seconds: f64,
}

/// Asks by so many connections, each as fast as it is answered.
pub async fn closed(requests: &Arc<Requests>, connections: usize, round: Duration) -> Closed {
    let opened = open_all(requests.server, connections).await;
    let began = Instant::now();
    let tasks = opened.into_iter().map(|mut connection| {
        let requests = Arc::clone(requests);
        tokio::spawn(async move {
            let (mut answers, mut strange) = (0, 0);
            while began.elapsed() < round {
                match connection.ask(requests.next()).await {
                    Ok(status) if status == requests.status => answers += 1,
                    Ok(_) => strange += 1,
                    Err(_) => {
                        strange += 1;
                        connection = Connection::open(requests.server).await.unwrap();
                    }
                }
            }
            (answers, strange)
        })
    });
    let mut all = Closed::default();
    for counts in join_all(tasks).await {
        let (answers, strange) = counts.unwrap();
        all.answers += answers;
        all.strange += strange;
    }
    Closed { seconds: began.elapsed().as_secs_f64(), ..all }
}

/// When each request of an open round is due.
struct Schedule {
    start: Instant,
    per_tick: f64,
    due: Semaphore,
    taken: AtomicU64,
    over: AtomicBool,
}

impl Schedule {
    fn due_at(&self, number: u64) -> Instant {
        self.start + TICK.mul_f64((number as f64 / self.per_tick).floor())
    }

    /// Lets requests come due until the round is over. It sleeps on a thread of its own: the runtime's timers are five
    /// times coarser.
    fn keep(&self, round: Duration) -> u64 {
        let ticks = round.as_micros() / TICK.as_micros();
        let mut told = 0;
        for tick in 0..ticks {
            std::thread::sleep((self.start + TICK.mul_f64(tick as f64)).saturating_duration_since(Instant::now()));
            let all = ((tick + 1) as f64 * self.per_tick).ceil() as u64;
            self.due.add_permits(usize::try_from(all - told).unwrap());
            told = all;
        }
        let end = Instant::now() + GRACE;
        while self.due.available_permits() > 0 && Instant::now() < end {
            std::thread::sleep(TICK);
        }
        self.over.store(true, Ordering::Relaxed);
        self.due.close();
        told
    }
}

/// Asks at `rate` a second, whatever the answers do; the latency of every request that came due, in microseconds.
///
/// Those that were never sent count from when they were due to the end, so that an overload can't look good.
pub async fn open(requests: &Arc<Requests>, connections: usize, rate: f64, round: Duration) -> Vec<f64> {
    let opened = open_all(requests.server, connections).await;
    let schedule = Arc::new(Schedule {
        start: Instant::now() + 10 * TICK,
        per_tick: rate * TICK.as_secs_f64(),
        due: Semaphore::new(0),
        taken: AtomicU64::new(0),
        over: AtomicBool::new(false),
    });
    let keeper = Arc::clone(&schedule);
    let keeping = std::thread::spawn(move || keeper.keep(round));
    let tasks = opened.into_iter().map(|mut connection| {
        let (requests, schedule) = (Arc::clone(requests), Arc::clone(&schedule));
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while let Ok(permit) = schedule.due.acquire().await {
                permit.forget();
                let due = schedule.due_at(schedule.taken.fetch_add(1, Ordering::Relaxed));
                let status = connection.ask(requests.next()).await.unwrap();
                assert_eq!(status, requests.status);
                latencies.push(due.elapsed().as_secs_f64() * 1e6);
            }
            latencies
        })
    });
    let mut latencies: Vec<f64> = join_all(tasks).await.into_iter().flat_map(Result::unwrap).collect();
    let told = keeping.join().unwrap();
    let unsent = schedule.taken.load(Ordering::Relaxed)..told;
    latencies.extend(unsent.map(|number| schedule.due_at(number).elapsed().as_secs_f64() * 1e6));
    latencies
}

async fn open_all(server: SocketAddr, connections: usize) -> Vec<Connection> {
    let opened = join_all((0..connections).map(|_| Connection::open(server))).await;
    opened.into_iter().collect::<io::Result<_>>().unwrap()
}

struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
}

impl Connection {
    async fn open(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: vec![0; BUFFER_BYTES].into() })
    }

    /// Sends one request, and reads its answer to the end: the status.
    async fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        let mut held = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[held..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            held += read;
            let Some((status, bytes)) = head(&self.buffer[..held])? else { continue };
            let mut left = bytes.saturating_sub(held);
            while left > 0 {
                match self.stream.read(&mut self.buffer).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => left = left.saturating_sub(read),
                }
            }
            return Ok(status);
        }
    }
}

/// The status of an answer, and how many bytes it has with its head; nothing before all of the head is there.
fn head(bytes: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok()).unwrap_or(0);
    // It may say how long the body would be.
    let body = if status == 304 { 0 } else { length };
    Ok(Some((status, head + body)))
}
