//! Reading while others write: what it costs, whether the hottest page is ever asked for twice at once, and how many
//! answers one write makes stale.

use super::{
    alone,
    chart::Group,
    load::Requests,
    race::{Lane, Plan, Runner, race},
    report::{Report, Table, number},
    scene,
    server::Server,
    stale,
    writer::{What, Writer},
};
use crate::{glossary, stage::Ground};

const TERMS: usize = glossary::BLOCK;
/// Most others of its block are related to it.
const HOTTEST: usize = 0;

pub async fn run(plan: Plan, record: bool) {
    let mut report = Report::new("writes", "Reading while others write", record);
    let ground = Ground::lay("read-writes");
    glossary::fill(&ground.create("writes").await, TERMS).await;
    let ours = Server::termbase(&ground, "writes", 128, &[]);
    let pages = scene::some_pages(TERMS);
    scene::ask_all(ours.address, scene::asks(&pages)).await;
    let hottest = Requests::of(ours.address, 200, scene::asks(&[HOTTEST]));
    let cases = [
        ("50 writes a second of bodies, over the glossary", What::Bodies(TERMS)),
        (
            "50 writes a second of bodies, definitions (3 of 10) and names (1 of 10), over the glossary",
            What::Mixed(TERMS),
        ),
        ("50 writes a second on the one term that all ask for", What::One(HOTTEST)),
    ];
    let mut groups = Vec::new();
    for (title, what) in cases {
        let writer = Writer::new(&ours, what);
        let requests = || if what == What::One(HOTTEST) { hottest.clone() } else { scene::pages_of(&ours, &pages) };
        let runners =
            [("with writes", Runner::Beside(&ours, requests(), &writer)), ("without", Runner::Http(&ours, requests()))];
        let raced = race(plan, Some(&ground), &runners).await;
        report.race(title, &raced);
        let (begun, failed) = writer.count();
        report.say(&format!("{begun} writes were begun, {failed} of them refused."));
        let bars = raced.0.iter().map(|lane: &Lane| (lane.name.clone(), lane.rate().median())).collect();
        groups.push(Group { title: title.to_owned(), bars });
    }
    report.bars("rates", "Answers a second", &groups);
    drop(ours);
    together(plan, &ground, &mut report).await;
    touched(plan, &ground, &mut report).await;
    report.finish();
}

/// Never two queries of the hottest page at once.
async fn together(plan: Plan, ground: &Ground, report: &mut Report) {
    let title = "The hottest page under 50 writes a second, with its query made 20 ms slower, looked at all the time";
    let columns = ["its queries by", "looks", "queries seen", "most of them at once"];
    let mut table = Table::new(title, &columns);
    let instances = alone::watch(plan, ground, "writes", HOTTEST).await;
    for (name, seen) in &instances {
        let figures = [seen.looks as f64, seen.queries.len() as f64, seen.most as f64];
        table.row(std::iter::once((*name).to_owned()).chain(figures.map(|figure| number(figure, 0))).collect());
    }
    report.table(&table);
    let most = instances[0].1.most;
    let verdict = if most == 1 { "never two at once" } else { "**not as promised**" };
    report.say(&format!("On the instance that all read from there were at most {most}: {verdict}."));
}

/// How many answers one write makes stale.
async fn touched(plan: Plan, ground: &Ground, report: &mut Report) {
    let ours = Server::termbase(ground, "writes", 128, &[("TERMBASE_SURROGATE_KEYS", "true")]);
    let stale = stale::count(&ours, TERMS, plan.sized(100, 5)).await;
    let title = format!("Answers that one write makes stale, of {} pages and lists", number(stale.answers as f64, 0));
    let columns = ["what is written", "writes", "on average", "at most", "of them pages", "lists and the like"];
    let mut table = Table::new(title, &columns);
    let mut bars = Vec::new();
    for (name, counts) in &stale.kinds {
        let all = counts.iter().map(|count| count.pages + count.lists);
        let most = all.clone().max().unwrap_or(0) as f64;
        let mean = |sum: usize| sum as f64 / counts.len() as f64;
        let (pages, lists) =
            (counts.iter().map(|count| count.pages).sum(), counts.iter().map(|count| count.lists).sum());
        let average = mean(all.sum());
        let mut cells = vec![(*name).to_owned(), counts.len().to_string(), number(average, 1), number(most, 0)];
        cells.extend([number(mean(pages), 1), number(mean(lists), 1)]);
        table.row(cells);
        bars.push(((*name).to_owned(), average));
    }
    report.table(&table);
    report.bars("stale", "Answers that one write makes stale", &[Group { title: "on average".into(), bars }]);
}
