//! Rounds of several contestants in turns, so that whatever else the machine does meets all of them alike.

use std::{sync::Arc, time::Duration};

use super::{
    load::{self, Requests},
    pgbench::Pgbench,
    server::{Server, cpu_seconds},
    writer::Writer,
};
use crate::stage::Ground;

/// How long is measured, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub quick: bool,
    pub rounds: usize,
    pub round: Duration,
    pub connections: usize,
}

impl Plan {
    pub fn full() -> Self {
        Plan { quick: false, rounds: 9, round: Duration::from_secs(2), connections: 64 }
    }

    /// Only to see that it works.
    pub fn quick() -> Self {
        Plan { quick: true, rounds: 3, round: Duration::from_millis(300), connections: 64 }
    }

    pub fn sized(self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

/// Who takes part.
pub enum Runner<'r> {
    /// A server, and what it is asked.
    Http(&'r Server, Arc<Requests>),
    /// The same, while somebody writes.
    Beside(&'r Server, Arc<Requests>, &'r Writer),
    Pgbench(&'r Pgbench),
}

/// One round of one of them.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Answers a second.
    pub rate: f64,
    /// The server's own time for one answer, in microseconds; not a number where it has none of its own.
    pub cpu: f64,
    /// The like of the database's, where somebody asks it.
    pub postgres: f64,
    pub strange: u64,
}

/// All rounds of one of them.
#[derive(Clone)]
pub struct Lane {
    pub name: String,
    pub samples: Vec<Sample>,
}

impl Lane {
    pub fn rate(&self) -> Figures {
        Figures::of(self.samples.iter().map(|sample| sample.rate))
    }

    pub fn cpu(&self) -> Figures {
        Figures::of(self.samples.iter().map(|sample| sample.cpu))
    }

    pub fn postgres(&self) -> Figures {
        Figures::of(self.samples.iter().map(|sample| sample.postgres))
    }

    /// As if those answers that came from a cache, such a share of all, had not been there: they cost next to nothing.
    pub fn without(&mut self, share: f64) {
        for sample in &mut self.samples {
            sample.rate *= 1.0 - share;
            sample.cpu /= 1.0 - share;
            sample.postgres /= 1.0 - share;
        }
    }

    /// This one's rate in the other's, round by round.
    pub fn rate_to(&self, peer: &Lane) -> Figures {
        Figures::of(self.samples.iter().zip(&peer.samples).map(|(ours, peer)| ours.rate / peer.rate))
    }

    /// The other's time for an answer in this one's: as with rates, more is better.
    pub fn thrift_to(&self, peer: &Lane) -> Figures {
        Figures::of(self.samples.iter().zip(&peer.samples).map(|(ours, peer)| peer.cpu / ours.cpu))
    }
}

/// Figures of several rounds, from the least to the most.
pub struct Figures(Vec<f64>);

impl Figures {
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        Figures(values)
    }

    /// Not a number where there are none.
    pub fn median(&self) -> f64 {
        self.part(0.5)
    }

    /// What so large a part of them does not exceed.
    pub fn part(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
    }

    pub fn values(&self) -> &[f64] {
        &self.0
    }
}

/// Runs all of them in turns, now in this order and now in the other; a first turn, which is not counted, warms up. What the
/// database computes is counted where its ground is given.
///
/// Beside the lanes: what the load generator needed for a request, in microseconds.
pub async fn race(plan: Plan, ground: Option<&Ground>, runners: &[(impl AsRef<str>, Runner<'_>)]) -> (Vec<Lane>, f64) {
    let name = |(name, _): &(_, _)| AsRef::<str>::as_ref(name).to_owned();
    let mut lanes: Vec<Lane> = runners.iter().map(|runner| Lane { name: name(runner), samples: Vec::new() }).collect();
    let mut own = Vec::new();
    for round in 0..=plan.rounds {
        let mut order: Vec<usize> = (0..runners.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            let of_postgres = || ground.map_or(f64::NAN, Ground::postgres_cpu_seconds);
            let (own_before, postgres_before) = (cpu_seconds("self"), of_postgres());
            let Outcome { answers, seconds, cpu, strange } = runners[place].1.run(plan).await;
            if round > 0 {
                let micros = |seconds: f64| seconds * 1e6 / answers;
                let postgres = micros(of_postgres() - postgres_before);
                lanes[place].samples.push(Sample { rate: answers / seconds, cpu: micros(cpu), postgres, strange });
                if cpu.is_finite() {
                    own.push(micros(cpu_seconds("self") - own_before));
                }
            }
        }
    }
    (lanes, Figures::of(own.into_iter()).median())
}

/// What came of one round.
struct Outcome {
    answers: f64,
    seconds: f64,
    /// The server's, in seconds; not a number where there is none.
    cpu: f64,
    strange: u64,
}

impl Runner<'_> {
    async fn run(&self, plan: Plan) -> Outcome {
        match self {
            Runner::Http(server, requests) => measure(server, requests, plan).await,
            Runner::Beside(server, requests, writer) => {
                let writing = writer.start();
                let measured = measure(server, requests, plan).await;
                writing.stop().await;
                measured
            }
            Runner::Pgbench(pgbench) => {
                let (answers, seconds) = pgbench.run(plan.round).await;
                Outcome { answers, seconds, cpu: f64::NAN, strange: 0 }
            }
        }
    }
}

async fn measure(server: &Server, requests: &Arc<Requests>, plan: Plan) -> Outcome {
    let before = server.cpu_seconds();
    let closed = load::closed(requests, plan.connections, plan.round).await;
    let cpu = server.cpu_seconds() - before;
    Outcome { answers: closed.answers as f64, seconds: closed.seconds, cpu, strange: closed.strange }
}
