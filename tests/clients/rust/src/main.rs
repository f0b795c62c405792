#![deny(warnings)]

use std::{collections::HashSet, env, error::Error as StdError};

use generated::{
    Client, Error,
    types::{Problem, TermCard},
};
use reqwest::header::{AUTHORIZATION, ETAG, HeaderMap};

mod generated {
    progenitor::generate_api!(spec = "../../../openapi/openapi-3.0.json", interface = Builder);
}

fn problem<T: std::fmt::Debug>(result: Result<T, Error<Problem>>) -> Problem {
    match result {
        Err(Error::ErrorResponse(response)) => response.into_inner(),
        other => panic!("no problem, but {other:?}"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let address = env::var("TERMBASE_ADDRESS")?;
    let termbase = Client::new(&address);
    let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {}", env::var("TERMBASE_TOKEN")?).parse()?)]);
    let desk = Client::new_with_client(&address, reqwest::Client::builder().default_headers(headers).build()?);

    // Read a page.
    let page = termbase.read_term().slug("foundation-model").send().await?;
    assert_eq!((page.name.as_str(), page.category.slug.as_str()), ("Foundation Model", "core-concepts"));
    assert!(page.companies.items.iter().any(|company| company.country.is_some()));

    // Walk a list to its end.
    let mut list = termbase.list_terms().limit(5).send().await?.into_inner();
    let mut terms: Vec<TermCard> = list.items;
    while let Some(cursor) = list.next_cursor {
        list = termbase.list_terms().limit(5).cursor(cursor).send().await?.into_inner();
        terms.extend(list.items);
    }
    assert_eq!(i64::try_from(terms.len())?, list.total);
    assert_eq!(terms.iter().map(|term| term.id).collect::<HashSet<_>>().len(), terms.len());
    assert!(terms.len() > 5);

    // Search, with a slip.
    let found = termbase.search().q("foundatoin model").send().await?;
    assert_eq!((&*found.items[0].slug, &*found.items[0].tier), ("foundation-model", "typo"));

    // What does not exist is a problem that says what is close.
    let missing = problem(termbase.read_term().slug("foundation-modle").send().await);
    assert_eq!((missing.code.as_str(), missing.suggestions[0].as_str()), ("not_found", "foundation-model"));

    // A mistake is told with its place.
    let draft = |category: &str| {
        let create = desk.create_term();
        let category = category.to_owned();
        create.body_map(|body| body.name("Rust").definition("A language.").category(category))
    };
    let refused = problem(draft("nowhere").send().await);
    assert_eq!(refused.code, "invalid_document");
    assert_eq!(
        (refused.errors[0].pointer.as_deref(), &*refused.errors[0].code),
        (Some("/category"), "unknown_reference")
    );

    // Create, change, and lose the change that builds on what was there before.
    let created = draft("training").send().await?;
    let (slug, tag) = (created.slug.as_str(), created.headers()[ETAG].to_str()?);
    let change = |definition: &str| {
        let update = desk.update_term().slug(slug).if_match(tag);
        let definition = definition.to_owned();
        update.body_map(|body| body.definition(Some(definition.parse().expect("it is short"))))
    };
    assert_eq!(change("A language with lifetimes.").send().await?.version.get(), 2);
    let lost = problem(change("Lost.").send().await);
    assert_eq!((lost.status, lost.code.as_str()), (412, "precondition_failed"));
    assert_eq!(lost.errors.iter().map(|fault| &*fault.code).collect::<Vec<_>>(), ["stale", "changed_since"]);

    // Delete; not what was changed meanwhile.
    let lost = problem(desk.delete_term().slug(slug).if_match(tag).send().await);
    assert_eq!(lost.status, 412);
    let deleted = desk.delete_term().slug(slug).message("Out of scope.").send().await?;
    assert_eq!(deleted.status(), 204);
    let gone = problem(desk.read_term().slug(slug).send().await);
    assert_eq!(gone.status, 410);
    Ok(())
}
