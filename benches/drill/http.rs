//! HTTP/1.1 on bare sockets: a thousand clients of this kind cost next to nothing, and know exactly when they sent what.

use std::{
    io::{Error, ErrorKind, Read, Result},
    net::SocketAddr,
    time::{Duration, Instant},
};

use termbase::changes::Position;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Before the server does: a connection that lies idle for longer is not used again.
const KEPT: Duration = Duration::from_secs(2);
/// How long an answer may take where nobody says otherwise: a stopped process answers when it goes on.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub struct Request<'r> {
    pub method: &'r str,
    pub path: &'r str,
    pub headers: &'r [(&'r str, &'r str)],
    pub body: Option<&'r str>,
}

impl<'r> Request<'r> {
    pub fn get(path: &'r str) -> Self {
        Request { method: "GET", path, headers: &[], body: None }
    }

    fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let Request { method, path, headers, body } = self;
        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let headers = headers.concat();
        let length = body.map_or(String::new(), |body| format!("content-length: {}\r\n", body.len()));
        let body = body.unwrap_or_default();
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n{headers}{length}\r\n{body}").into_bytes()
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    /// As it is without its coding.
    pub body: Vec<u8>,
    /// Just before it was asked for.
    pub began: Instant,
    /// When it was there.
    pub ended: Instant,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn position(&self) -> Option<Position> {
        self.header("termbase-position").and_then(Position::parse)
    }

    /// In seconds, where it is said.
    pub fn age(&self) -> Option<u64> {
        self.header("age").and_then(|age| age.parse().ok())
    }

    pub fn tag(&self) -> &str {
        self.header("etag").unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn took(&self) -> Duration {
        self.ended - self.began
    }
}

/// One client with one connection, which it keeps.
pub struct Client {
    address: SocketAddr,
    kept: Option<(BufReader<TcpStream>, Instant)>,
    keeps: Duration,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Client { address, kept: None, keeps: KEPT }
    }

    /// Uses a connection again that lay idle for so long: not one that the server had the time to close.
    #[must_use]
    pub fn keeping(self, keeps: Duration) -> Self {
        Client { keeps, ..self }
    }

    pub fn hang_up(&mut self) {
        self.kept = None;
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(&Request::get(path)).await
    }

    /// Sends, and waits for the whole answer. A connection that failed is not kept.
    pub async fn send(&mut self, request: &Request<'_>) -> Result<Answer> {
        self.send_within(request, PATIENCE).await
    }

    pub async fn send_within(&mut self, request: &Request<'_>, patience: Duration) -> Result<Answer> {
        let began = Instant::now();
        let kept = self.kept.take().filter(|(_, used)| used.elapsed() < self.keeps);
        let sending = async {
            let mut stream = match kept {
                Some((stream, _)) => stream,
                None => connect(self.address).await?,
            };
            stream.get_mut().write_all(&request.bytes(self.address)).await?;
            let (status, headers) = read_head(&mut stream).await?;
            let body = read_body(&mut stream, request.method, status, &headers).await?;
            Ok::<_, Error>((stream, Answer { status, headers, body, began, ended: Instant::now() }))
        };
        let silent = |_elapsed| Error::from(ErrorKind::TimedOut);
        let (stream, mut answer) = tokio::time::timeout(patience, sending).await.map_err(silent)??;
        if answer.header("connection") != Some("close") {
            self.kept = Some((stream, answer.ended));
        }
        let bytes = std::mem::take(&mut answer.body);
        answer.body = decoded(answer.header("content-encoding"), bytes)?;
        Ok(answer)
    }
}

async fn connect(address: SocketAddr) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> Result<(u16, Vec<(String, String)>)> {
    let first = read_line(stream).await?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Error::other(format!("no status line: {first}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream).await?;
        let Some((name, value)) = line.split_once(':') else { return Ok((status, headers)) };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

async fn read_body(
    stream: &mut BufReader<TcpStream>,
    method: &str,
    status: u16,
    headers: &[(String, String)],
) -> Result<Vec<u8>> {
    if method == "HEAD" || status == 304 || status == 204 {
        return Ok(Vec::new());
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    if let Some(length) = length {
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        return Ok(body);
    }
    let mut body = Vec::new();
    while let Some(chunk) = read_chunk(stream).await? {
        body.extend(chunk);
    }
    Ok(body)
}

/// The next chunk of a body without a length; none at its end.
async fn read_chunk(stream: &mut BufReader<TcpStream>) -> Result<Option<Vec<u8>>> {
    let size = read_line(stream).await?;
    let size = usize::from_str_radix(&size, 16)
        .map_err(|error| Error::other(format!("no size of a chunk: {size}: {error}")))?;
    let mut chunk = vec![0; size];
    stream.read_exact(&mut chunk).await?;
    read_line(stream).await?;
    Ok((size > 0).then_some(chunk))
}

fn decoded(coding: Option<&str>, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    match coding {
        Some("br") => brotli::Decompressor::new(bytes.as_slice(), 4096).read_to_end(&mut plain)?,
        Some("gzip") => flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain)?,
        _ => return Ok(bytes),
    };
    Ok(plain)
}

/// What a stream of server-sent events tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub id: Option<String>,
    /// Empty in a heartbeat.
    pub data: String,
}

/// An open stream of server-sent events.
pub struct Stream {
    stream: BufReader<TcpStream>,
    unread: String,
}

impl Stream {
    /// Opens it; the answer where it is another than a stream.
    pub async fn open(
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<std::result::Result<Self, Answer>> {
        let began = Instant::now();
        let mut stream = connect(address).await?;
        stream.get_mut().write_all(&Request { headers, ..Request::get(path) }.bytes(address)).await?;
        let (status, headers) = read_head(&mut stream).await?;
        if status == 200 {
            return Ok(Ok(Stream { stream, unread: String::new() }));
        }
        let body = read_body(&mut stream, "GET", status, &headers).await?;
        Ok(Err(Answer { status, headers, body, began, ended: Instant::now() }))
    }

    /// The next event or heartbeat; none where the server has ended the stream. Once given up while it waits, a stream is
    /// of no more use.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (event, read) = (parse(block), self.unread.len() - rest.len());
                self.unread.drain(..read);
                return Ok(Some(event));
            }
            match read_chunk(&mut self.stream).await? {
                Some(chunk) => self.unread.push_str(&String::from_utf8_lossy(&chunk)),
                None => return Ok(None),
            }
        }
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        match line.split_once(':') {
            Some(("id", id)) => event.id = Some(id.trim().to_owned()),
            Some(("data", data)) => event.data.push_str(data.trim()),
            _ => {}
        }
    }
    event
}
