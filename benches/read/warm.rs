//! What is in the cache: a page, its codings, a `304`, a list, many pages, each beside the ceiling and the look-up.

use std::sync::Arc;

use super::{
    chart::Group,
    load::{self, Ask, Requests},
    peers::{self, Kept},
    race::{Figures, Lane, Plan, Runner, race},
    report::{Report, Table, spread},
    scene,
    server::Server,
};
use crate::{
    glossary,
    stage::{Ground, client},
};

const TERMS: usize = glossary::BLOCK;
const LIST: &str = "/terms?limit=20";

/// An answer that is raced for.
struct Row {
    title: String,
    status: u16,
    asks: Vec<Ask>,
    /// Where the ceiling has bytes of that length; many pages it has each at its own address.
    ceiling: Option<&'static str>,
}

struct Stand {
    ours: Server,
    lookup: Server,
    ceiling: Server,
}

pub async fn run(plan: Plan, record: bool) {
    let mut report = Report::new("warm", "Warm answers", record);
    let ground = Ground::lay("read-warm");
    glossary::fill(&ground.create("warm").await, TERMS).await;
    let ours = Server::termbase(&ground, "warm", 128, &[]);
    let (stand, rows) = prepare(&ground, ours).await;
    let mut rates = Vec::new();
    let mut costs = Vec::new();
    for row in &rows {
        let raced = stand.race(plan, row).await;
        report.race(&row.title, &raced);
        let bars = |value: fn(&Lane) -> f64| raced.0.iter().map(|lane| (lane.name.clone(), value(lane))).collect();
        rates.push(Group { title: row.title.clone(), bars: bars(|lane| lane.rate().median()) });
        costs.push(Group { title: row.title.clone(), bars: bars(|lane| lane.cpu().median()) });
    }
    report.bars("rates", "Answers a second", &rates);
    report.bars("cpu", "Server CPU, µs an answer (less is better)", &costs);
    let rate = rates[0].bars[0].1 / 2.0;
    stand.latencies(plan, &rows[0], rate, &mut report).await;
    report.finish();
}

/// The peers with what the service answers, and the rows. All of it is asked for, and so in the cache.
async fn prepare(ground: &Ground, ours: Server) -> (Stand, Vec<Row>) {
    let client = client();
    let numbers = scene::some_pages(TERMS);
    // The middle one by length, of a hundred.
    let mut some = Vec::new();
    for &number in numbers.iter().take(100) {
        some.push(Kept::fetch(&client, &ours, &glossary::address(number), "identity").await);
    }
    some.sort_by_key(Kept::length);
    let page = some.swap_remove(some.len() / 2);
    let coded = Kept::fetch(&client, &ours, &page.address, "gzip, deflate, br, zstd").await;
    assert_eq!(coded.header("content-encoding"), Some("br"));
    let list = Kept::fetch(&client, &ours, LIST, "identity").await;
    let mut many = Vec::new();
    for &number in &numbers {
        many.push(Kept::fetch(&client, &ours, &glossary::address(number), "identity").await);
    }
    let mean = many.iter().map(Kept::length).sum::<usize>() / many.len();
    let known = format!("If-None-Match: {}\r\n", page.tag());
    let constants = [("/page", &page, 200), ("/br", &coded, 200), ("/304", &page, 304), ("/list", &list, 200)];
    let constants = constants.map(|(address, kept, status)| Kept { address: address.into(), status, ..kept.clone() });
    let constants = [&constants[..], &many].concat();
    let rows = vec![
        row(format!("A page, identity, {} bytes", page.length()), 200, vec![Ask::plain(&page.address)], Some("/page")),
        row(format!("The page in br, {} bytes", coded.length()), 200, vec![Ask::coded(&page.address)], Some("/br")),
        row("The page, known already: 304".into(), 304, vec![Ask::with(&page.address, known)], Some("/304")),
        row(format!("A list of 20, {} bytes", list.length()), 200, vec![Ask::plain(LIST)], Some("/list")),
        row(
            format!("{} pages in turns, {mean} bytes on average", numbers.len()),
            200,
            scene::asks(&numbers).collect(),
            None,
        ),
    ];
    let all = [vec![page, coded, list], many].concat();
    let lookup = peers::start("serve-lookup", ground.folder(), &all);
    let ceiling = peers::start("serve-ceiling", ground.folder(), &constants);
    let stand = Stand { ours, lookup, ceiling };
    stand.check(&all, &constants).await;
    (stand, rows)
}

fn row(title: String, status: u16, asks: Vec<Ask>, ceiling: Option<&'static str>) -> Row {
    Row { title, status, asks, ceiling }
}

impl Stand {
    /// The look-up gives what the service gives, header by header, and the ceiling as many bytes.
    async fn check(&self, all: &[Kept], constants: &[Kept]) {
        let client = client();
        for kept in all {
            let coding = kept.header("content-encoding").unwrap_or("identity");
            let again = Kept::fetch(&client, &self.lookup, &kept.address, coding).await;
            let sorted = |kept: &Kept| {
                let mut headers = kept.headers.clone();
                headers.sort();
                (headers, kept.body.clone())
            };
            assert!(sorted(&again) == sorted(kept), "{}", kept.address);
        }
        for kept in constants {
            let response = client.get(self.ceiling.url(&kept.address)).send().await.unwrap();
            assert_eq!(response.status(), kept.status);
            let length = if kept.status == 304 { 0 } else { kept.length() };
            assert_eq!(response.bytes().await.unwrap().len(), length);
        }
    }

    async fn race(&self, plan: Plan, row: &Row) -> (Vec<Lane>, f64) {
        let of = |server: &Server| Requests::of(server.address, row.status, row.asks.clone());
        let runners = [
            ("termbase", Runner::Http(&self.ours, of(&self.ours))),
            ("look-up, same headers", Runner::Http(&self.lookup, of(&self.lookup))),
            ("ceiling", Runner::Http(&self.ceiling, self.constant(row))),
        ];
        race(plan, None, &runners).await
    }

    fn constant(&self, row: &Row) -> Arc<Requests> {
        let asks = row.asks.iter().map(|ask| {
            let address = row.ceiling.map_or_else(|| ask.address.clone(), ToOwned::to_owned);
            Ask { address, ..ask.clone() }
        });
        Requests::of(self.ceiling.address, row.status, asks)
    }

    /// Both at the same rate, half of what the service can do.
    async fn latencies(&self, plan: Plan, row: &Row, rate: f64, report: &mut Report) {
        let asked = [
            ("termbase", Requests::of(self.ours.address, row.status, row.asks.clone())),
            ("ceiling", self.constant(row)),
        ];
        let mut figures = [Vec::new(), Vec::new()];
        for round in 0..=plan.rounds {
            for place in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                let latencies = load::open(&asked[place].1, plan.connections, rate, plan.round).await;
                let latencies = Figures::of(latencies.into_iter());
                if round > 0 {
                    figures[place].push([0.5, 0.9, 0.99, 0.999].map(|part| latencies.part(part)));
                }
            }
        }
        let title = format!("Latency of that page at {rate:.0} requests a second, half of the highest rate, in µs");
        let columns = ["", "median", "90 of 100", "99 of 100", "999 of 1,000", "99 of 100, this ÷ ceiling"];
        let mut table = Table::new(title, &columns);
        for ((name, _), rounds) in asked.iter().zip(&figures) {
            let column = |place: usize| spread(&Figures::of(rounds.iter().map(|parts| parts[place])), 0);
            let ratios = rounds.iter().zip(&figures[1]).map(|(ours, peers)| ours[2] / peers[2]);
            let mut cells = vec![(*name).to_owned()];
            cells.extend((0..4).map(column));
            cells.push(spread(&Figures::of(ratios), 2));
            table.row(cells);
        }
        report.table(&table);
    }
}
