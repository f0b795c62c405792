//! What sections have in common: which pages are asked for, and that all who take part give the same.

use std::{collections::BTreeSet, net::SocketAddr};

use serde_json::Value;

use super::{
    load::{Ask, Requests},
    server::Server,
};
use crate::{
    glossary,
    stage::{Random, client},
};

/// So many pages are asked for where a cache is to hold all that is asked for.
pub const WARM_PAGES: usize = 1_000;

/// How often any page is asked for, where some are asked for more often than others.
pub struct Zipf {
    /// For each rank how likely it or one before it is.
    until: Vec<f64>,
}

impl Zipf {
    /// The page of rank n is asked for 1/n times as often as the first.
    pub fn of(terms: usize) -> Self {
        let mut sum = 0.0;
        let mut until: Vec<f64> = Vec::with_capacity(terms);
        for rank in 1..=terms {
            sum += 1.0 / rank as f64;
            until.push(sum);
        }
        until.iter_mut().for_each(|part| *part /= sum);
        Zipf { until }
    }

    /// Ranks are spread over the whole glossary.
    pub fn draw(&self, random: &mut Random) -> usize {
        let chance = random.below(1 << 53) as f64 / (1_u64 << 53) as f64;
        let rank = self.until.partition_point(|until| *until < chance);
        // Prime to every size that is a power of ten.
        glossary::public((rank * 7_919 + 13) % self.until.len())
    }
}

/// Some pages of the whole glossary, each once, in an order of chance; the same for everyone.
pub fn some_pages(terms: usize) -> Vec<usize> {
    let mut random = Random(17);
    let mut pages = BTreeSet::new();
    // Of a thousand numbers twenty are drafts.
    let wanted = WARM_PAGES.min(terms * 49 / 50);
    while pages.len() < wanted {
        pages.insert(glossary::public(random.below(terms)));
    }
    let mut pages: Vec<usize> = pages.into_iter().collect();
    for last in (1..pages.len()).rev() {
        pages.swap(last, random.below(last + 1));
    }
    pages
}

/// Pages of the whole glossary by chance, each as likely as another; `salt` makes it another order.
pub fn any_pages(terms: usize, count: usize, salt: u64) -> Vec<usize> {
    let mut random = Random(0x5851_f42d ^ (salt << 32));
    (0..count).map(|_| glossary::public(random.below(terms))).collect()
}

pub fn asks(pages: &[usize]) -> impl Iterator<Item = Ask> {
    pages.iter().map(|&number| Ask::plain(glossary::address(number)))
}

/// Asks for each of them once.
pub async fn ask_all(server: SocketAddr, asks: impl IntoIterator<Item = Ask>) {
    let client = client();
    for Ask { address, headers } in asks {
        let mut request = client.get(format!("http://{server}{address}"));
        for (name, value) in headers.lines().filter_map(|line| line.split_once(": ")) {
            request = request.header(name, value);
        }
        request.send().await.unwrap().bytes().await.unwrap();
    }
}

/// Requests that every answer to is the page itself.
pub fn pages_of(server: &Server, pages: &[usize]) -> std::sync::Arc<Requests> {
    Requests::of(server.address, 200, asks(pages))
}

/// The afternoon version shows what the service shows, but for the address of the companies that are not on the page.
pub async fn compare_pages(ours: &Server, afternoon: &Server, pages: &[usize]) {
    for &number in pages {
        let mut answers = Vec::new();
        for server in [ours, afternoon] {
            let response = client().get(server.url(&glossary::address(number))).send().await.unwrap();
            let mut page: Value = response.error_for_status().unwrap().json().await.unwrap();
            page["companies"]["rest"] = page["companies"]["rest"].is_string().into();
            answers.push(page);
        }
        assert_eq!(answers[0], answers[1], "the page of term {number}");
    }
}
