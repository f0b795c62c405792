//! The sample glossary is an encyclopaedia: what its files must have to be worth that name, whatever they say.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use termbase::{
    categories::CategoryDocument,
    companies::CompanyDocument,
    editorial::{Edit, document::Reference},
    http::slug::Slug,
    samples,
    terms::{TermDocument, TermStatus},
};

struct Encyclopaedia {
    categories: Vec<CategoryDocument>,
    companies: Vec<CompanyDocument>,
    terms: Vec<TermDocument>,
}

/// All files; one that can't be taken fails here, with what is wrong in it.
fn read() -> Encyclopaedia {
    let mut read = Encyclopaedia { categories: Vec::new(), companies: Vec::new(), terms: Vec::new() };
    for edit in samples::edits().unwrap_or_else(|error| panic!("{error}")) {
        match edit {
            Edit::Category(_, category) => read.categories.push(category),
            Edit::Company(_, company) => read.companies.push(company),
            Edit::Term(_, term) => read.terms.push(term),
            Edit::Delete(..) | Edit::Restore(..) => panic!("a file of samples deletes nothing"),
        }
    }
    read
}

impl Encyclopaedia {
    fn published(&self) -> impl Iterator<Item = &TermDocument> {
        self.terms.iter().filter(|term| term.status == TermStatus::Published)
    }

    /// The terms that each term is related to, whichever of the two says so.
    fn relations(&self) -> HashMap<&str, BTreeSet<String>> {
        let mut relations: HashMap<&str, BTreeSet<String>> = HashMap::new();
        let slugs: HashMap<String, &str> =
            self.terms.iter().map(|term| (slug(term.slug.as_ref()).to_owned(), slug(term.slug.as_ref()))).collect();
        for term in &self.terms {
            for other in
                [&term.related, &term.broader, &term.replaced_by].into_iter().flatten().map(Reference::to_string)
            {
                relations.entry(slugs[&other]).or_default().insert(slug(term.slug.as_ref()).to_owned());
                relations.entry(slug(term.slug.as_ref())).or_default().insert(other);
            }
        }
        relations
    }

    /// The addresses of all that is there.
    fn addresses(&self) -> HashSet<String> {
        let terms = self.terms.iter().map(|term| format!("/terms/{}", slug(term.slug.as_ref())));
        let companies = self.companies.iter().map(|company| format!("/companies/{}", slug(company.slug.as_ref())));
        let categories = self.categories.iter().map(|category| format!("/categories/{}", slug(category.slug.as_ref())));
        terms.chain(companies).chain(categories).collect()
    }
}

/// The files name each slug: links are written before names are settled.
fn slug(slug: Option<&Slug>) -> &str {
    slug.expect("a sample without a slug").as_str()
}

/// The paragraphs of a text, with lists, tables and headings as such.
fn paragraphs(body: &str) -> impl Iterator<Item = &str> {
    body.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty())
}

/// A body as it is read: links without their addresses.
fn without_addresses(body: &str) -> String {
    let mut pieces = body.split("](");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once(')').map_or("", |(_, rest)| rest))
}

fn addresses(body: &str) -> impl Iterator<Item = &str> {
    body.split("](").skip(1).map(|piece| piece.split_once(')').map_or(piece, |(address, _)| address))
}

/// A paragraph's sentences, and what stands before a colon or a semicolon, as their words in lower case.
fn sentences(paragraph: &str) -> Vec<Vec<String>> {
    let (mut sentences, mut words) = (Vec::new(), Vec::new());
    for word in paragraph.split_whitespace() {
        let letters: String = word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        if !letters.is_empty() {
            words.push(letters);
        }
        if word.trim_end_matches(['*', '"', ')', ']']).ends_with(['.', '!', '?', ':', ';']) {
            sentences.push(std::mem::take(&mut words));
        }
    }
    sentences.push(words);
    sentences
}

/// How many sentences: an end, and a capital letter or a digit after it.
fn count_sentences(text: &str) -> usize {
    let words: Vec<&str> = text.split_whitespace().collect();
    let begins = |word: &str| word.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit());
    1 + words.windows(2).filter(|pair| pair[0].ends_with(['.', '!', '?']) && begins(pair[1])).count()
}

fn count_words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn median(mut numbers: Vec<usize>) -> usize {
    numbers.sort_unstable();
    numbers[numbers.len() / 2]
}

#[test]
fn the_encyclopaedia_is_large() {
    let all = read();
    let (published, companies, categories) = (all.published().count(), all.companies.len(), all.categories.len());
    assert!(published >= 150 && companies >= 80 && categories >= 12, "{published}, {companies}, {categories}");
    let mut by_category: BTreeMap<String, usize> = BTreeMap::new();
    all.published().for_each(|term| *by_category.entry(term.category.to_string()).or_default() += 1);
    let lengths: Vec<usize> = all.published().map(|term| count_words(term.body.as_str())).collect();
    let related = all.relations();
    let relations: Vec<usize> = all.published().map(|term| related[slug(term.slug.as_ref())].len()).collect();
    println!("{published} published terms of {}, {categories} categories, {companies} companies", all.terms.len());
    by_category.iter().for_each(|(category, count)| println!("{count:5}  {category}"));
    println!("words a body: least {}, median {}", lengths.iter().min().unwrap(), median(lengths.clone()));
    println!("relations a term: least {}, median {}", relations.iter().min().unwrap(), median(relations.clone()));
}

#[test]
fn categories_are_of_two_levels_and_none_is_empty() {
    let all = read();
    let tops: HashSet<&str> = all
        .categories
        .iter()
        .filter(|category| category.parent.is_none())
        .map(|category| slug(category.slug.as_ref()))
        .collect();
    let lower: Vec<String> =
        all.categories.iter().filter_map(|category| category.parent.as_ref().map(Reference::to_string)).collect();
    assert!(!lower.is_empty() && lower.iter().all(|parent| tops.contains(parent.as_str())), "{lower:?}");
    for category in &all.categories {
        let name = slug(category.slug.as_ref());
        assert!(all.published().any(|term| term.category.to_string() == name), "{name} has no terms");
        assert!(!category.description.is_empty(), "{name} has no description");
    }
}

#[test]
fn a_company_says_what_it_is_and_where_it_belongs() {
    let all = read();
    let known = all.addresses();
    for company in &all.companies {
        let name = slug(company.slug.as_ref());
        assert!(!company.description.is_empty() && company.website.is_some(), "{name} has no description or website");
        assert!(!company.categories.is_empty(), "{name} is in no category");
        let unknown = company.categories.iter().find(|category| !known.contains(&format!("/categories/{category}")));
        assert!(unknown.is_none(), "{name} is in {unknown:?}");
    }
}

#[test]
fn a_published_term_has_all_that_an_article_needs() {
    let all = read();
    let relations = all.relations();
    for term in all.published() {
        let name = slug(term.slug.as_ref());
        let sentences = count_sentences(&term.definition);
        assert!(sentences <= 3, "{name}: a definition of {sentences} sentences");
        let paragraphs = paragraphs(term.body.as_str()).count();
        assert!(paragraphs >= 3, "{name}: a body of {paragraphs} paragraphs");
        assert!(term.sources.len() >= 2, "{name}: {} sources", term.sources.len());
        let relations = relations.get(name).map_or(0, BTreeSet::len);
        assert!(relations >= 4, "{name}: {relations} relations");
    }
}

#[test]
fn every_link_and_reference_leads_somewhere() {
    let all = read();
    let known = all.addresses();
    for term in &all.terms {
        let own = format!("/terms/{}", slug(term.slug.as_ref()));
        let terms = [&term.related, &term.broader, &term.replaced_by]
            .into_iter()
            .flatten()
            .map(|other| format!("/terms/{other}"));
        let companies = term.companies.iter().map(|company| format!("/companies/{company}"));
        let links = addresses(term.body.as_str()).filter(|address| address.starts_with('/')).map(str::to_owned);
        for address in terms.chain(companies).chain(links) {
            assert!(known.contains(&address), "{own} leads to {address}, which is not there");
            assert_ne!(address, own, "a term that leads to itself");
        }
    }
}

/// One side is enough, since a page shows what either says: an editor who takes a relation away need not look on both.
#[test]
fn a_relation_stands_once() {
    let all = read();
    let mut seen = HashSet::new();
    for term in &all.terms {
        let own = slug(term.slug.as_ref()).to_owned();
        for other in term.related.iter().chain(&term.broader).map(Reference::to_string) {
            let pair = if own < other { (own.clone(), other) } else { (other, own.clone()) };
            assert!(seen.insert(pair.clone()), "{pair:?} are related twice");
        }
    }
}

#[test]
fn no_two_bodies_share_a_sentence() {
    let all = read();
    let mut seen: HashMap<Vec<String>, &str> = HashMap::new();
    for term in &all.terms {
        let text = without_addresses(term.body.as_str());
        for sentence in paragraphs(&text).flat_map(sentences).filter(|words| words.len() >= 5) {
            let said = sentence.join(" ");
            if let Some(other) = seen.insert(sentence, slug(term.slug.as_ref())) {
                panic!("{other} and {} both say: {said}", slug(term.slug.as_ref()));
            }
        }
    }
}
