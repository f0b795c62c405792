//! Reading: warm and cold, at every size, while others write; each row beside its peers in the same run.
//!
//! `cargo bench --bench read` measures it all, for about an hour, on a private cluster of its own; `-- warm`, `cold`, `size`
//! and `writes` one section alone, `-- quick` each for a few seconds, only to see that it works. `record` beside them writes
//! the tables and charts to `docs/performance/`. What the peers are, and how to read the figures: `docs/performance.md`.
//!
//! Every server is a process of its own, the peers too (this very program, by a hidden word), so that the kernel says what
//! each answer cost it: on a machine that others use, that is steadier than the rate. It needs Linux for that.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "figures for a person, and a measurement that fails is to stop here"
)]

mod glossary;
mod stage;

/// The sections, and what they stand on.
mod read {
    pub mod afternoon;
    pub mod alone;
    pub mod chart;
    pub mod cold;
    pub mod load;
    pub mod peers;
    pub mod pgbench;
    pub mod race;
    pub mod report;
    pub mod scene;
    pub mod server;
    pub mod size;
    pub mod stale;
    pub mod warm;
    pub mod writer;
    pub mod writes;
}

use mimalloc::MiMalloc;
use read::{afternoon, cold, peers, race::Plan, server, size, warm, writes};
use tokio::runtime::{Builder, Runtime};

/// The peers' memory is as the service's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const SECTIONS: [&str; 4] = ["warm", "cold", "size", "writes"];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        // As the service itself runs.
        ["serve-ceiling", path] => Runtime::new().unwrap().block_on(peers::serve_ceiling(path)),
        ["serve-lookup", path] => Runtime::new().unwrap().block_on(peers::serve_lookup(path)),
        ["serve-afternoon", url] => Runtime::new().unwrap().block_on(afternoon::serve(url)),
        ["watch", process] => server::watch(process),
        // One thread for the load generator, so that it takes no more than one core.
        _ => Builder::new_current_thread().enable_all().build().unwrap().block_on(measure(&words)),
    }
}

async fn measure(words: &[&str]) {
    // The last one is Cargo's.
    let known = SECTIONS.iter().chain(&["quick", "record", "--bench"]);
    if let Some(strange) = words.iter().find(|word| !known.clone().any(|known| known == *word)) {
        eprintln!("{strange} is none of: {}, quick, record", SECTIONS.join(", "));
        std::process::exit(2);
    }
    let named = |word: &str| words.contains(&word);
    let plan = if named("quick") { Plan::quick() } else { Plan::full() };
    let record = named("record");
    let all = !SECTIONS.iter().any(|section| named(section));
    for section in SECTIONS.into_iter().filter(|section| all || named(section)) {
        match section {
            "warm" => warm::run(plan, record).await,
            "cold" => cold::run(plan, record).await,
            "size" => size::run(plan, record).await,
            _ => writes::run(plan, record).await,
        }
    }
}
