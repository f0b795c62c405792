//! From a thousand terms to a million: what the number of terms costs, and what the cache holds in how much memory.

use super::{
    chart::Line,
    load::{self, Ask, Requests},
    race::{Lane, Plan, Runner, race},
    report::{Report, Table, number, spread},
    scene::{self, Zipf},
    server::{CONNECTIONS, Server},
};
use crate::{
    glossary,
    stage::{Ground, Random, client},
};

const CACHE_MIB: usize = 128;
const SHARED_BUFFERS: &str = "6GB";
/// Each of the servers has its connections, and a few for itself; nine servers at most run at once.
const FOR_ITSELF: u32 = 5;

/// A glossary of one size, with the servers on it.
struct Size {
    terms: usize,
    warm: Server,
    cold: Server,
    afternoon: Server,
    /// Of the warm one before it was asked for anything, in MiB.
    idle_mib: f64,
}

pub async fn run(plan: Plan, record: bool) {
    let mut report = Report::new("size", "From a thousand terms to a million", record);
    let counts: &[usize] = if plan.quick { &[1_000, 5_000] } else { &[1_000, 10_000, 100_000, 1_000_000] };
    let connections = (3 * counts.len() as u32 + 1) * (CONNECTIONS + FOR_ITSELF) + 20;
    let settings = [
        ("max_connections", &*connections.to_string()),
        ("max_wal_size", "8GB"),
        // A quarter of 24 GiB, as the manual advises.
        ("shared_buffers", SHARED_BUFFERS),
    ];
    let ground = Ground::lay_with("read-size", &settings).await;
    let mut sizes = Vec::new();
    for &terms in counts {
        sizes.push(Size::make(&ground, terms).await);
    }
    for size in &sizes {
        fill_cache(size, plan).await;
    }
    rates(plan, &ground, &sizes, &mut report).await;
    memory(&sizes, &mut report).await;
    // Enough for a tenth of them to be many, and no more than it takes.
    let large = sizes.iter().rev().find(|size| size.terms <= 100_000).unwrap();
    zipf(plan, &ground, large, &mut report).await;
    report.finish();
}

impl Size {
    async fn make(ground: &Ground, terms: usize) -> Self {
        let database = format!("terms_{terms}");
        glossary::fill(&ground.create(&database).await, terms).await;
        let warm = Server::termbase(ground, &database, CACHE_MIB, &[]);
        let cold = Server::termbase(ground, &database, 1, &[]);
        let afternoon = Server::afternoon(ground, &database);
        let idle_mib = warm.memory_mib("VmRSS");
        scene::compare_pages(&warm, &afternoon, &scene::some_pages(terms)[..20]).await;
        Size { terms, warm, cold, afternoon, idle_mib }
    }
}

/// Whether Postgres found huge pages for its memory, as it tries to: on a machine of its own nobody else asks for them.
fn has_huge_pages() -> bool {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let count = |name: &str| -> u64 {
        let line = memory.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    count("HugePages_Total:") - count("HugePages_Free:") + count("HugePages_Rsvd:") > 0
}

/// Asks for pages by chance, one of four in br, until there is no more in the cache than a round before.
async fn fill_cache(size: &Size, plan: Plan) {
    let pages = scene::any_pages(size.terms, 100_000, 3);
    let asks = pages.iter().enumerate().map(|(place, &number)| {
        let address = glossary::address(number);
        if place % 4 == 0 { Ask::coded(address) } else { Ask::plain(address) }
    });
    let requests = Requests::of(size.warm.address, 200, asks);
    let mut held = 0.0;
    for _ in 0..plan.sized(40, 4) {
        load::closed(&requests, plan.connections, plan.round).await;
        let holds = size.warm.metric("termbase_cache_bytes", "").await;
        if holds < held * 1.005 {
            break;
        }
        held = holds;
    }
}

/// All sizes in turns, in one race.
async fn rates(plan: Plan, ground: &Ground, sizes: &[Size], report: &mut Report) {
    let mut runners = Vec::new();
    for size in sizes {
        let pages = scene::some_pages(size.terms);
        scene::ask_all(size.warm.address, scene::asks(&pages)).await;
        let count = 200_000.min(20 * size.terms);
        let [first, second] = [4, 5].map(|salt| scene::any_pages(size.terms, count, salt));
        let terms = number(size.terms as f64, 0);
        runners.push((format!("{terms}, warm"), Runner::Http(&size.warm, scene::pages_of(&size.warm, &pages))));
        runners.push((format!("{terms}, cold"), Runner::Http(&size.cold, scene::pages_of(&size.cold, &first))));
        let peer = Runner::Http(&size.afternoon, scene::pages_of(&size.afternoon, &second));
        runners.push((format!("{terms}, afternoon version"), peer));
    }
    let before = hits(sizes).await;
    let (mut lanes, own) = race(plan, Some(ground), &runners).await;
    let after = hits(sizes).await;
    // Of few terms even the smallest cache holds some.
    let shares: Vec<f64> =
        before.iter().zip(after).map(|(before, after)| (after.0 - before.0) / (after.1 - before.1)).collect();
    lanes.chunks_mut(3).zip(&shares).for_each(|(three, share)| three[1].without(*share));
    let lanes: Vec<&[Lane]> = lanes.chunks(3).collect();
    report.table(&rates_table(sizes, &lanes));
    let pages = if has_huge_pages() { "huge pages (`vm.nr_hugepages`)" } else { "pages of 4 kB" };
    report.say(&format!("Postgres has {SHARED_BUFFERS} of `shared_buffers`, on {pages}."));
    report.table(&costs_table(sizes, &lanes, &shares));
    report.generator(&lanes.concat(), own);
    let line = |place: usize, name: &str| {
        let points = sizes.iter().zip(&lanes).map(|(size, three)| (size.terms as f64, three[place].rate().median()));
        Line { name: name.to_owned(), points: points.collect() }
    };
    let lines = [line(0, "termbase, warm"), line(1, "termbase, cold"), line(2, "afternoon version")];
    report.lines("rates", "Pages a second by terms", ["terms", "pages a second"], &lines);
}

fn rates_table(sizes: &[Size], lanes: &[&[Lane]]) -> Table {
    let columns = [
        "terms",
        "warm, requests a second",
        "of the rate at the first",
        "cold, misses a second",
        "of the rate at the first",
        "afternoon version",
        "of its rate at the first",
        "cold ÷ afternoon version",
    ];
    let mut table = Table::new("Rates, all sizes in turns", &columns);
    for (size, three) in sizes.iter().zip(lanes) {
        let mut cells = vec![number(size.terms as f64, 0)];
        for (lane, first) in three.iter().zip(lanes[0]) {
            cells.extend([spread(&lane.rate(), 0), spread(&lane.rate_to(first), 2)]);
        }
        cells.push(spread(&three[1].rate_to(&three[2]), 2));
        table.row(cells);
    }
    table
}

/// `cached` is the share of the cold server's answers that came from its cache, and were left out.
fn costs_table(sizes: &[Size], lanes: &[&[Lane]], cached: &[f64]) -> Table {
    let columns = [
        "terms",
        "warm",
        "cold",
        "afternoon version",
        "Postgres, cold",
        "Postgres, afternoon version",
        "left out of cold as from the cache, of 100",
    ];
    let mut table = Table::new("CPU, µs a request", &columns);
    for ((size, three), cached) in sizes.iter().zip(lanes).zip(cached) {
        let mut cells = vec![number(size.terms as f64, 0)];
        cells.extend(three.iter().map(|lane| spread(&lane.cpu(), 1)));
        cells.extend(three[1..].iter().map(|lane| spread(&lane.postgres(), 0)));
        cells.push(number(cached * 100.0, 2));
        table.row(cells);
    }
    table
}

async fn hits(sizes: &[Size]) -> Vec<(f64, f64)> {
    let mut hits = Vec::new();
    for size in sizes {
        hits.push(size.cold.hits().await);
    }
    hits
}

async fn memory(sizes: &[Size], report: &mut Report) {
    let title = format!("Memory with the cache filled, which may hold {CACHE_MIB} MiB; MiB");
    let columns = [
        "terms",
        "cache, as it says",
        "of its bound",
        "VmRSS at the start",
        "VmRSS",
        "VmHWM",
        "VmRSS less the bound",
        "growth ÷ what the cache says",
    ];
    let mut table = Table::new(title, &columns);
    let mut lines =
        ["VmRSS", "VmHWM", "cache, as it says"].map(|name| Line { name: name.to_owned(), points: Vec::new() });
    for size in sizes {
        let held = size.warm.metric("termbase_cache_bytes", "").await / f64::from(1 << 20);
        let (now, most) = (size.warm.memory_mib("VmRSS"), size.warm.memory_mib("VmHWM"));
        let bound = CACHE_MIB as f64;
        let figures = [
            size.terms as f64,
            held,
            held / bound,
            size.idle_mib,
            now,
            most,
            now - bound,
            (now - size.idle_mib) / held,
        ];
        let digits = [0, 1, 2, 0, 0, 0, 0, 2];
        table.row(figures.iter().zip(digits).map(|(figure, digits)| number(*figure, digits)).collect());
        for (line, value) in lines.iter_mut().zip([now, most, held]) {
            line.points.push((size.terms as f64, value));
        }
    }
    report.table(&table);
    report.lines("memory", "Memory by terms, MiB", ["terms", "MiB"], &lines);
}

/// Some pages are asked for far more often than others, and the cache holds a tenth of all.
async fn zipf(plan: Plan, ground: &Ground, size: &Size, report: &mut Report) {
    let all_mib = mean_page(size).await * size.terms as f64 / f64::from(1 << 20);
    let mib = ((all_mib / 10.0).round() as usize).max(1);
    let ours = Server::termbase(ground, &format!("terms_{}", size.terms), mib, &[]);
    let (zipf, mut random) = (Zipf::of(size.terms), Random(23));
    let pages: Vec<usize> = (0..500_000).map(|_| zipf.draw(&mut random)).collect();
    // To begin with, the cache has seen some of it.
    let requests = scene::pages_of(&ours, &pages);
    for _ in 0..plan.sized(15, 3) {
        load::closed(&requests, plan.connections, plan.round).await;
    }
    let runners = [
        ("termbase", Runner::Http(&ours, requests)),
        ("afternoon version", Runner::Http(&size.afternoon, scene::pages_of(&size.afternoon, &pages))),
    ];
    let before = ours.hits().await;
    let raced = race(plan, Some(ground), &runners).await;
    let after = ours.hits().await;
    let terms = number(size.terms as f64, 0);
    report.race(format!("{terms} terms asked for by Zipf's law, and a cache of {mib} MiB, a tenth of them"), &raced);
    let share = (after.0 - before.0) / (after.1 - before.1) * 100.0;
    report.say(&format!("Of termbase's answers {share:.1} of 100 came from the cache."));
}

/// Bytes of a page, of a hundred by chance.
async fn mean_page(size: &Size) -> f64 {
    let (client, mut bytes) = (client(), 0);
    let pages = scene::some_pages(size.terms);
    for &number in &pages[..100] {
        let response = client.get(size.warm.url(&glossary::address(number))).send().await.unwrap();
        bytes += response.bytes().await.unwrap().len();
    }
    bytes as f64 / 100.0
}
