//! Who follows the feed: streams that come and go, and polls that wait.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Deserialize;
use termbase::changes::Position;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    drill::{
        AUTHORIZATION, Random,
        http::{Answer, Client, Event, Request, Stream},
        report::{Broken, Verdict},
    },
    truth::{Place, SEEN_ONCE, Segment, Truth},
};

/// After an instance that is not there, or does not answer yet.
const AGAIN: Duration = Duration::from_millis(100);

pub struct Shared {
    pub instances: [SocketAddr; 2],
    pub truth: Truth,
    pub verdict: Verdict,
    pub counts: Counts,
}

#[derive(Default)]
pub struct Counts {
    pub sessions: AtomicU64,
    pub events: AtomicU64,
    pub polls: AtomicU64,
    pub trimmed: AtomicU64,
    pub restarted: AtomicU64,
    /// Who was sent away again after reading the content again: only the feed itself said where to begin.
    pub twice: AtomicU64,
    pub failed: AtomicU64,
    pub commits: AtomicU64,
    pub refused: AtomicU64,
}

#[derive(Deserialize)]
struct Item {
    position: String,
    id: Uuid,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    position: String,
}

/// How one client behaves.
#[derive(Debug, Clone, Copy)]
pub struct Habit {
    pub number: u64,
    /// Whether it polls instead of keeping a stream.
    pub polls: bool,
    /// Whether its token shows drafts.
    pub drafts: bool,
    /// The longest time that it is away, in milliseconds.
    pub away_ms: usize,
}

pub struct Follower {
    shared: Arc<Shared>,
    habit: Habit,
    random: Random,
    place: Option<Place>,
}

impl Follower {
    pub fn new(shared: Arc<Shared>, habit: Habit) -> Self {
        Follower { shared, habit, random: Random(habit.number * 15_485_863 + 1), place: None }
    }

    /// Follows until the run is over.
    pub async fn run(mut self) {
        let shared = self.shared.clone();
        while !shared.verdict.is_over() {
            let instance = shared.instances[self.random.below(2)];
            let result = if self.habit.polls { self.poll(instance).await } else { self.stream(instance).await };
            match result {
                Ok(Ok(())) => {}
                Ok(Err(broken)) => shared.verdict.broken(broken),
                Err(_) => {
                    shared.counts.failed.fetch_add(1, Ordering::Relaxed);
                    shared.verdict.pause(AGAIN).await;
                }
            }
            let away = self.random.below(self.habit.away_ms.max(1));
            shared.verdict.pause(Duration::from_millis(away as u64)).await;
        }
    }

    fn name(&self) -> String {
        let Habit { number, polls, drafts, .. } = self.habit;
        format!(
            "{} {number}{}",
            if polls { "poller" } else { "stream" },
            if drafts { " with a viewer's token" } else { "" }
        )
    }

    /// One session: it ends at some moment, in the middle of whatever comes.
    async fn stream(&mut self, instance: SocketAddr) -> std::io::Result<Result<(), Broken>> {
        let Some(from) = self.place else { return self.begin(instance).await };
        let after = from.position.to_string();
        let mut headers = vec![("last-event-id", after.as_str())];
        if self.habit.drafts {
            headers.push(AUTHORIZATION);
        }
        let opened = timeout(Duration::from_secs(5), Stream::open(instance, "/changes/stream", &headers)).await??;
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(answer) => return self.turned_away(instance, from, &answer).await,
        };
        self.shared.counts.sessions.fetch_add(1, Ordering::Relaxed);
        let mut segment = Segment { from, seen: Vec::new(), until: from.position.number, drafts: self.habit.drafts };
        let mut last = from;
        let time = Duration::from_millis(100 + self.random.below(4_000) as u64);
        let reading = async {
            while let Ok(Some(event)) = stream.next().await {
                last = note(&mut segment, last, &event)?;
            }
            Ok(())
        };
        let ended = timeout(time, self.shared.verdict.unless_over(reading)).await;
        if let Ok(Some(Err(broken))) = ended {
            return Ok(Err(broken));
        }
        self.place = Some(last);
        self.shared.counts.events.fetch_add(segment.seen.len() as u64, Ordering::Relaxed);
        Ok(self.shared.truth.check(&self.name(), &segment).await)
    }

    async fn poll(&mut self, instance: SocketAddr) -> std::io::Result<Result<(), Broken>> {
        let Some(from) = self.place else { return self.begin(instance).await };
        let path = format!("/changes?after={}&wait=2&limit={}", from.position, 1 + self.random.below(100));
        let headers = [AUTHORIZATION];
        let headers = if self.habit.drafts { &headers[..] } else { &[] };
        let request = Request { headers, ..Request::get(&path) };
        let answer = Client::new(instance).send_within(&request, Duration::from_secs(10)).await?;
        self.shared.counts.polls.fetch_add(1, Ordering::Relaxed);
        if answer.status != 200 {
            return self.turned_away(instance, from, &answer).await;
        }
        let page: Page = serde_json::from_slice(&answer.body)?;
        let (mut segment, mut last) =
            (Segment { from, seen: Vec::new(), until: from.position.number, drafts: self.habit.drafts }, from);
        for item in page.items {
            let event = Event {
                id: Some(item.position.clone()),
                data: format!("{{\"position\":\"{}\",\"id\":\"{}\"}}", item.position, item.id),
            };
            match note(&mut segment, last, &event) {
                Ok(place) => last = place,
                Err(broken) => return Ok(Err(broken)),
            }
        }
        let event = Event { id: Some(page.position), data: String::new() };
        match note(&mut segment, last, &event) {
            Ok(place) => self.place = Some(place),
            Err(broken) => return Ok(Err(broken)),
        }
        self.shared.counts.events.fetch_add(segment.seen.len() as u64, Ordering::Relaxed);
        Ok(self.shared.truth.check(&self.name(), &segment).await)
    }

    /// Where the log is now.
    async fn begin(&mut self, instance: SocketAddr) -> std::io::Result<Result<(), Broken>> {
        let answer = Client::new(instance).send_within(&Request::get("/changes"), Duration::from_secs(5)).await?;
        let position = answer.position().ok_or_else(|| std::io::Error::other("no position"))?;
        self.place = Some(Place { position, id: None });
        Ok(Ok(()))
    }

    /// A 410 says to read the content again, and to go on from its position.
    async fn turned_away(
        &mut self,
        instance: SocketAddr,
        from: Place,
        answer: &Answer,
    ) -> std::io::Result<Result<(), Broken>> {
        let counts = &self.shared.counts;
        if answer.status != 410 {
            return Err(std::io::Error::other(format!("status {}", answer.status)));
        }
        let problem = answer.json();
        let code = problem["code"].as_str().unwrap_or_default();
        if code == "changes_trimmed" { &counts.trimmed } else { &counts.restarted }.fetch_add(1, Ordering::Relaxed);
        if let Err(broken) = self.shared.truth.check_410(&self.name(), from, code) {
            return Ok(Err(broken));
        }
        let content = Client::new(instance)
            .send_within(&Request::get("/terms?sort=-updated_at&limit=1"), Duration::from_secs(5))
            .await?;
        match content.position() {
            // What is kept for a few seconds here is trimmed sooner than content that nobody changes is read anew.
            Some(position)
                if position == from.position
                    || code == "changes_trimmed" && position.number <= from.position.number =>
            {
                counts.twice.fetch_add(1, Ordering::Relaxed);
                self.begin(instance).await
            }
            Some(position) => {
                self.place = Some(Place { position, id: None });
                Ok(Ok(()))
            }
            None => Err(std::io::Error::other("content without a position")),
        }
    }
}

/// Writes an event down; where the client has got to by it.
pub fn note(segment: &mut Segment, last: Place, event: &Event) -> Result<Place, Broken> {
    let Some(position) = event.id.as_deref().and_then(Position::parse) else { return Ok(last) };
    let mut place = Place { position, id: last.id.filter(|_| position == last.position) };
    if !event.data.is_empty() {
        let item: Item = serde_json::from_str(&event.data)
            .map_err(|error| Broken::new(SEEN_ONCE, format!("an event can't be read ({error}): {}", event.data)))?;
        if Position::parse(&item.position) != Some(position) {
            return Err(Broken::new(SEEN_ONCE, format!("event {position} says that it is {}.", item.position)));
        }
        segment.seen.push((position.number, item.id));
        place.id = Some(item.id);
    }
    if position.number < segment.until || position.log_id != segment.from.position.log_id {
        let sentence = format!("after {} a stream told of {position}.", last.position);
        return Err(Broken::new(SEEN_ONCE, sentence));
    }
    segment.until = position.number;
    Ok(place)
}
