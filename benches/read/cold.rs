//! What is not in the cache: every request is a query, beside the afternoon version and pgbench; and how much the cache
//! gains on the same pages.

use super::{
    chart::Group,
    pgbench::Pgbench,
    race::{Plan, Runner, race},
    report::{Report, Table, number},
    scene,
    server::Server,
};
use crate::{glossary, stage::Ground};

/// Pages that are asked for in all rounds together; of more terms than that, none is asked for twice in a while.
const ASKED: usize = 200_000;

pub async fn run(plan: Plan, record: bool) {
    let mut report = Report::new("cold", "Cold answers", record);
    let terms = plan.sized(100_000, 5_000);
    let ground = Ground::lay("read-cold");
    glossary::fill(&ground.create("cold").await, terms).await;
    // The least cache that there is: a thousandth of the pages.
    let ours = Server::termbase(&ground, "cold", 1, &[]);
    let warm = Server::termbase(&ground, "cold", 128, &[]);
    let afternoon = Server::afternoon(&ground, "cold");
    let pages = scene::some_pages(terms);
    scene::compare_pages(&ours, &afternoon, &pages[..50]).await;
    let pgbench = Pgbench::new(&ground, "cold", terms);

    let count = ASKED.min(20 * terms);
    let [of_ours, of_afternoon] = [1, 2].map(|salt| scene::any_pages(terms, count, salt));
    let mut runners = vec![
        ("termbase, all misses", Runner::Http(&ours, scene::pages_of(&ours, &of_ours))),
        ("afternoon version", Runner::Http(&afternoon, scene::pages_of(&afternoon, &of_afternoon))),
    ];
    runners.extend(pgbench.as_ref().map(|pgbench| ("pgbench, the query alone", Runner::Pgbench(pgbench))));
    let before = ours.hits().await;
    let cold = race(plan, Some(&ground), &runners).await;
    let after = ours.hits().await;
    report.race(format!("Pages of {} terms by chance", number(terms as f64, 0)), &cold);
    let share = (after.0 - before.0) / (after.1 - before.1);
    report
        .say(&format!("Of termbase's answers {:.2} of 100 came from its cache of 1 MiB all the same.", share * 100.0));

    scene::ask_all(warm.address, scene::asks(&pages)).await;
    let runners = [
        ("termbase, warm", Runner::Http(&warm, scene::pages_of(&warm, &pages))),
        ("afternoon version", Runner::Http(&afternoon, scene::pages_of(&afternoon, &pages))),
    ];
    let gain = race(plan, Some(&ground), &runners).await;
    report.race(format!("The same {} pages in turns", number(pages.len() as f64, 0)), &gain);

    let lanes = [&gain.0[0]].into_iter().chain(&cold.0);
    let bars = lanes.map(|lane| (lane.name.clone(), lane.rate().median())).collect();
    let group = Group { title: format!("{} terms", number(terms as f64, 0)), bars };
    report.bars("rates", "Pages a second", &[group]);
    memory(&ours, &afternoon, &mut report);
    report.finish();
}

/// What both need, beside: no peer of a cache is complete without.
fn memory(ours: &Server, afternoon: &Server, report: &mut Report) {
    let mut table = Table::new("Memory of the servers", &["", "VmRSS, MiB", "VmHWM, MiB"]);
    for (name, server) in [("termbase, a cache of 1 MiB", ours), ("afternoon version", afternoon)] {
        let cells = ["VmRSS", "VmHWM"].map(|field| number(server.memory_mib(field), 0));
        table.row([name.to_owned()].into_iter().chain(cells).collect());
    }
    report.table(&table);
}
