//! Searching 100,000 terms of real words: those of `WordNet`, from Debian's package `dict-wn` (`apt-get install dict-wn`).
//!
//! `cargo bench --bench search` writes them, and asks 1,000 seeded questions of each class over HTTP, one after the other:
//! how many are answered by what was meant in the first 1, 3 and 10, and how fast. The peer is what a weekend service would
//! do: trigrams, prefix and full text in one statement, sorted by likeness; on the same server, without HTTP, in the same
//! run. Then 16 connections at once, and 64 clients with the worst questions that we know, who all leave at once: what
//! reading costs meanwhile and after, and what still runs in Postgres then.
#![expect(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a measurement that fails is to stop here"
)]

mod stage;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::File,
    io::Read,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use stage::{Random, Stage, client};
use termbase::{
    categories::CategoryDocument,
    editorial::{self, Edit, Target},
    names::fold,
    terms::TermDocument,
    tokens::Author,
};

const DICTIONARY: &str = "/usr/share/dictd/wn.dict.dz";
const INDEX: &str = "/usr/share/dictd/wn.index";
const TERMS: usize = 100_000;
const QUESTIONS: usize = 1_000;
const CATEGORIES: usize = 50;
/// The service's own default.
const CONNECTIONS: u32 = 10;
const CLIENTS: usize = 16;
const CROWD: usize = 64;

struct Term {
    name: String,
    definition: String,
    aliases: Vec<(String, &'static str)>,
}

#[tokio::main]
async fn main() {
    let questions = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(QUESTIONS);
    let terms = terms();
    let stage = Stage::set("search", CONNECTIONS).await;
    write(&stage, &terms).await;
    let (address, server) = stage.serve();
    let bench = Bench { terms, address, client: client(), database: stage.state.database() };
    let classes = bench.classes(questions);
    println!("found in the first 1, 3, 10 of 100; milliseconds, median and 95 of 100; in brackets the peer:");
    for (name, asked) in &classes {
        let ours = bench.ask(asked, async |question| bench.over_http(question).await).await;
        let peer = bench.ask(asked, async |question| peer(&bench.database, question).await).await;
        println!("  {name:<28} {ours}   [{peer}]");
    }
    bench.together(&classes).await;
    bench.crowd(&stage).await;
    server.stop(false).await;
    stage.clear().await;
}

/// The first meaning of each word. Acronyms are aliases of what they stand for, as are words that 100,000 terms leave over.
fn terms() -> Vec<Term> {
    let mut text = Vec::new();
    let missing = "`apt-get install dict-wn` brings the words";
    GzDecoder::new(File::open(DICTIONARY).expect(missing)).read_to_end(&mut text).unwrap();
    let mut entries = Vec::new();
    for line in std::fs::read_to_string(INDEX).expect(missing).lines() {
        let (at, length) = line.split_once('\t').and_then(|(_, place)| place.split_once('\t')).unwrap();
        let (at, length) = (number(at), number(length));
        let entry = std::str::from_utf8(&text[at..at + length]).unwrap();
        entries.extend(meaning(entry));
    }
    let is_acronym = |name: &str| (2..=6).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_uppercase());
    let mut random = Random(5);
    for last in (1..entries.len()).rev() {
        entries.swap(last, random.below(last + 1));
    }
    let mut keys = HashSet::new();
    let acronyms = |entry: &(String, String, Vec<String>)| {
        is_acronym(&entry.0) && entry.2.iter().any(|synonym| !is_acronym(synonym))
    };
    let words = entries.iter().filter(|entry| !acronyms(entry) && !fold(&entry.0).is_empty());
    let chosen: Vec<_> = words.filter(|entry| keys.insert(fold(&entry.0))).take(TERMS).collect();
    let keys: HashSet<String> = chosen.iter().map(|entry| fold(&entry.0)).collect();
    let term = |(name, definition, synonyms): &(String, String, Vec<String>)| {
        let mut own = HashSet::new();
        let others = synonyms.iter().filter(|other| !keys.contains(&fold(other)) && own.insert(fold(other)));
        let aliases = others.map(|other| (other.clone(), if is_acronym(other) { "acronym" } else { "synonym" }));
        Term { name: name.clone(), definition: definition.clone(), aliases: aliases.collect() }
    };
    chosen.into_iter().map(term).collect()
}

/// dictd's numbers: base 64, without padding.
fn number(text: &str) -> usize {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    text.chars().fold(0, |number, digit| number * 64 + DIGITS.find(digit).unwrap())
}

/// A word, what it means first, and the others that mean it.
fn meaning(entry: &str) -> Option<(String, String, Vec<String>)> {
    let (name, rest) = entry.split_once('\n')?;
    let rest = rest.split_whitespace().collect::<Vec<_>>().join(" ");
    let (class, rest) = rest.split_once(": ")?;
    if !["n", "v", "adj", "adv", "n 1", "v 1", "adj 1", "adv 1"].contains(&class) {
        return None;
    }
    let ends = [" 2: ", " n 1: ", " v 1: ", " adj 1: ", " adv 1: "].iter().filter_map(|mark| rest.find(mark));
    let first = &rest[..ends.min().unwrap_or(rest.len())];
    let mut synonyms = Vec::new();
    if let Some(list) = first.split_once("[syn: ").map(|(_, list)| list) {
        let list = list.split_once(']').map_or(list, |(list, _)| list);
        synonyms
            .extend(list.split('{').skip(1).filter_map(|word| word.split_once('}')).map(|(word, _)| word.to_owned()));
        synonyms.retain(|word| word != name);
    }
    let definition = first.split_once('[').map_or(first, |(text, _)| text).trim();
    (!definition.is_empty() && definition.len() <= 1000).then(|| (name.to_owned(), definition.to_owned(), synonyms))
}

async fn write(stage: &Stage, terms: &[Term]) {
    let began = Instant::now();
    let mut edits: Vec<Edit> = (0..CATEGORIES)
        .map(|number| json!({"name": format!("Category {number}"), "slug": format!("category-{number}")}))
        .map(|document| Edit::Category(Target::New, CategoryDocument::parse(&document).unwrap()))
        .collect();
    for (number, term) in terms.iter().enumerate() {
        let aliases: Vec<Value> = term.aliases.iter().map(|(name, kind)| json!({"name": name, "kind": kind})).collect();
        let document = json!({
            "slug": format!("term-{number}"), "name": term.name, "definition": term.definition, "status": "published",
            "category": format!("category-{}", number % CATEGORIES), "aliases": aliases.into_iter().take(50).collect::<Vec<_>>(),
            "body": "",
        });
        edits.push(Edit::Term(Target::New, TermDocument::parse(&document).unwrap()));
    }
    let author = Author::program("bench");
    editorial::write(&stage.state, &author, None, async |write| write.apply(edits.clone()).await).await.unwrap();
    sqlx::raw_sql("vacuum analyze").execute(&mut stage.connect().await).await.unwrap();
    println!(
        "wrote {} terms, {} aliases, in {:.1} s",
        terms.len(),
        terms.iter().map(|term| term.aliases.len()).sum::<usize>(),
        began.elapsed().as_secs_f64()
    );
}

/// A question, and the terms (by number) that may be meant by it.
type Asked = (String, HashSet<usize>);

/// What a class measured.
struct Figures {
    shares: [f64; 3],
    median: f64,
    most: f64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, three, ten] = self.shares;
        write!(f, "{first:5.1} {three:5.1} {ten:5.1}  {:5.2} {:5.2} ms", self.median, self.most)
    }
}

struct Bench {
    terms: Vec<Term>,
    address: String,
    client: reqwest::Client,
    database: PgPool,
}

impl Bench {
    fn classes(&self, questions: usize) -> Vec<(&'static str, Vec<Asked>)> {
        let mut random = Random(9);
        let mut class =
            |name: &'static str, fits: &dyn Fn(&Term) -> bool, ask: &dyn Fn(&mut Random, &Term) -> String| {
                let mut asked: Vec<Asked> = Vec::new();
                let mut taken = HashSet::new();
                while asked.len() < questions && taken.len() < self.terms.len() {
                    let number = random.below(self.terms.len());
                    if taken.insert(number) && fits(&self.terms[number]) {
                        asked.push((ask(&mut random, &self.terms[number]), HashSet::from([number])));
                    }
                }
                (name, asked)
            };
        let length = |term: &Term| term.name.chars().count();
        let mut frequencies: HashMap<String, usize> = HashMap::new();
        for term in &self.terms {
            words(&term.definition).into_iter().for_each(|word| *frequencies.entry(word).or_default() += 1);
        }
        let rarest = |_: &mut Random, term: &Term| {
            let mut words: Vec<String> = words(&term.definition).into_iter().collect();
            words.sort_by_key(|word| (frequencies[word], word.clone()));
            words.truncate(2);
            words.join(" ")
        };
        let mut classes = vec![
            class("whole names", &|_| true, &|_, term| term.name.clone()),
            class("one typo", &|term| length(term) >= 5, &|random, term| typo(random, &term.name, false)),
            class("one in the first letter", &|term| length(term) >= 5, &|random, term| typo(random, &term.name, true)),
            class("two typos", &|term| length(term) >= 9, &|random, term| {
                let once = typo(random, &term.name, false);
                typo(random, &once, false)
            }),
            class("two thirds of a name", &|term| length(term) >= 5, &|_, term| {
                term.name.chars().take((length(term) * 2).div_ceil(3)).collect()
            }),
            class("two words of a definition", &|term| words(&term.definition).len() >= 3, &rarest),
        ];
        let mut acronyms: HashMap<&str, HashSet<usize>> = HashMap::new();
        for (number, term) in self.terms.iter().enumerate() {
            for (alias, _) in term.aliases.iter().filter(|(_, kind)| *kind == "acronym") {
                acronyms.entry(alias).or_default().insert(number);
            }
        }
        let mut asked: Vec<Asked> = acronyms.into_iter().map(|(name, numbers)| (name.to_owned(), numbers)).collect();
        asked.sort_by(|one, other| one.0.cmp(&other.0));
        asked.truncate(questions);
        classes.push(("acronyms", asked));
        classes
    }

    async fn ask(&self, asked: &[Asked], find: impl AsyncFn(&str) -> Vec<usize>) -> Figures {
        let (mut found, mut times) = ([0_usize; 3], Vec::new());
        for (question, meant) in asked {
            let began = Instant::now();
            let answer = find(question).await;
            times.push(began.elapsed().as_secs_f64() * 1000.0);
            let place = answer.iter().position(|number| meant.contains(number)).unwrap_or(usize::MAX);
            for (count, first) in found.iter_mut().zip([1, 3, 10]) {
                *count += usize::from(place < first);
            }
        }
        times.sort_by(f64::total_cmp);
        let share = |count: usize| count as f64 * 100.0 / asked.len() as f64;
        Figures { shares: found.map(share), median: times[times.len() / 2], most: times[times.len() * 95 / 100] }
    }

    async fn over_http(&self, question: &str) -> Vec<usize> {
        let request = self.client.get(format!("{}/search", self.address)).query(&[("q", question), ("limit", "10")]);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{question}");
        let answer: Value = response.json().await.unwrap();
        let slugs = answer["items"].as_array().unwrap().iter().map(|item| item["slug"].as_str().unwrap().to_owned());
        slugs.filter_map(|slug| slug.strip_prefix("term-")?.parse().ok()).collect()
    }

    /// All classes mixed, on many connections.
    async fn together(&self, classes: &[(&'static str, Vec<Asked>)]) {
        let questions: Vec<&str> =
            classes.iter().flat_map(|(_, asked)| asked.iter().map(|one| one.0.as_str())).collect();
        for round in 0..3 {
            let began = Instant::now();
            let one = async |client: usize| {
                let mut random = Random(31 + (client as u64) * 7919 + round);
                let mut times = Vec::new();
                while began.elapsed() < Duration::from_secs(5) {
                    let asked = Instant::now();
                    self.over_http(questions[random.below(questions.len())]).await;
                    times.push(asked.elapsed().as_secs_f64() * 1000.0);
                }
                times
            };
            let mut times: Vec<f64> = join_all((0..CLIENTS).map(one)).await.concat();
            let seconds = began.elapsed().as_secs_f64();
            times.sort_by(f64::total_cmp);
            let (rate, at) = (times.len() as f64 / seconds, |share: usize| times[times.len() * share / 100]);
            println!(
                "{CLIENTS} connections: {rate:.0} searches a second, median {:.1} ms, 95 of 100 within {:.1} ms",
                at(50),
                at(95)
            );
        }
    }

    /// Cold pages before, while, and after many search for the worst, and leave at once.
    async fn crowd(&self, stage: &Stage) {
        const WORST: [&str; 8] =
            ["a", "s", "of", "genus plant", "person", "having", "c", "internationalisationalizationings"];
        let reading = async |duration: Duration| {
            let (began, mut random, mut times) = (Instant::now(), Random(77), Vec::new());
            while began.elapsed() < duration {
                let slug = random.below(self.terms.len());
                let asked = Instant::now();
                let response = self.client.get(format!("{}/terms/term-{slug}", self.address)).send().await.unwrap();
                assert_eq!(response.status(), 200);
                response.bytes().await.unwrap();
                times.push(asked.elapsed().as_secs_f64() * 1000.0);
            }
            times.sort_by(f64::total_cmp);
            let at = |share: usize| times[(times.len() - 1) * share / 100];
            format!(
                "{} pages, median {:.2} ms, 99 of 100 within {:.2} ms, worst {:.2} ms",
                times.len(),
                at(50),
                at(99),
                at(100)
            )
        };
        println!("before:  {}", reading(Duration::from_secs(2)).await);
        let searching = tokio::spawn({
            let address = self.address.clone();
            async move {
                let counts = std::sync::Mutex::new(HashMap::<u16, usize>::new());
                let one = async |client: usize| {
                    let own = stage::client();
                    for step in 0.. {
                        let question = WORST[(client + step) % WORST.len()];
                        let request = own.get(format!("{address}/search")).query(&[("q", question), ("limit", "100")]);
                        let Ok(response) = request.send().await else { break };
                        *counts.lock().unwrap().entry(response.status().as_u16()).or_default() += 1;
                        let _ = response.bytes().await;
                    }
                };
                // Dropped in the middle: that is how they leave.
                let _ = tokio::time::timeout(Duration::from_secs(10), join_all((0..CROWD).map(one))).await;
                counts.into_inner().unwrap()
            }
        });
        println!("during:  {}", reading(Duration::from_secs(9)).await);
        let counts = searching.await.unwrap();
        let left = Instant::now();
        let running = "select count(*) from pg_stat_activity where state = 'active' and query like '%search_names%' and pid <> pg_backend_pid()";
        let mut connection = stage.connect().await;
        let mut still = Vec::new();
        for _ in 0..5 {
            let count: i64 = sqlx::query_scalar(running).fetch_one(&mut connection).await.unwrap();
            still.push(format!("{count} after {:.0} ms", left.elapsed().as_secs_f64() * 1000.0));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("answers: {:?}", counts.into_iter().collect::<std::collections::BTreeMap<_, _>>());
        println!("running in Postgres: {}", still.join(", "));
        println!("after:   {}", reading(Duration::from_secs(1)).await);
    }
}

fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() > 3);
    words.map(str::to_ascii_lowercase).collect()
}

/// One letter replaced, left out, put in, or swapped with the next.
fn typo(random: &mut Random, name: &str, in_first: bool) -> String {
    let letters: Vec<char> = name.to_lowercase().chars().collect();
    loop {
        let at = if in_first { 0 } else { 1 + random.below(letters.len() - 1) };
        let letter = char::from(b'a' + u8::try_from(random.below(26)).unwrap());
        let mut other = letters.clone();
        match random.below(4) {
            0 => other[at] = letter,
            1 => drop(other.remove(at)),
            2 => other.insert(at, letter),
            _ if at + 1 < other.len() => other.swap(at, at + 1),
            _ => {}
        }
        let text: String = other.iter().collect();
        if other != letters && text.trim() == text {
            return text;
        }
    }
}

/// Trigrams, prefix and full text in one statement: what a weekend service does.
async fn peer(database: &PgPool, question: &str) -> Vec<usize> {
    let statement = "
        select slug
          from (select id, min(tier) as tier, max(likeness) as likeness, min(length) as length
                  from (select id, case when name_key = $1 then 1 else 3 end as tier, 1::real as likeness, char_length(name_key) as length
                          from terms where name_key >= $1 and name_key < $1 || chr(1114111) and deleted_at is null
                        union all
                        select term_id, 2, 1, char_length(name_key) from term_aliases where name_key = $1
                        union all
                        select id, 5, similarity(name_key, $1), char_length(name_key) from terms where name_key % $1
                        union all
                        select id, 6, ts_rank(definition_words, plainto_tsquery('english', $2)), char_length(name_key)
                          from terms where text_words @@ plainto_tsquery('english', $2)) found
                 group by id) best
          join terms using (id)
         order by tier, likeness desc, length, terms.id
         limit 10";
    let slugs: Vec<String> =
        sqlx::query_scalar(statement).bind(fold(question)).bind(question).fetch_all(database).await.unwrap();
    slugs.iter().map(|slug| slug.strip_prefix("term-").unwrap().parse().unwrap()).collect()
}
