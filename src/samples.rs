//! The sample glossary in `samples/`, which is inside the binary: what a first start loads.
//!
//! A file has one category and its terms, or companies. The documents are those of the API; a term's category is that
//! of its file.

use rust_embed::RustEmbed;
use serde_json::{Map, Value, json};

use crate::{
    categories::CategoryDocument,
    changes::Position,
    companies::CompanyDocument,
    editorial::{self, Edit, Target},
    error::{Error, Fault},
    state::State,
    terms::TermDocument,
    tokens::Author,
};

#[derive(RustEmbed)]
#[folder = "samples/"]
#[include = "*.yaml"]
struct Files;

/// What stands in the revisions of the samples.
const AUTHOR: &str = "termbase samples";

/// A sample file that can't be taken; a test reads them all.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {what}")]
pub struct SampleError {
    file: String,
    what: String,
}

/// Every document of the samples.
///
/// # Errors
/// The first file that can't be read, with what is wrong in it.
pub fn edits() -> Result<Vec<Edit>, SampleError> {
    let text = |name: &str| Files::get(name).map(|file| String::from_utf8_lossy(&file.data).into_owned());
    read(Files::iter().map(|name| (format!("samples/{name}"), text(&name).unwrap_or_default())))
}

/// Every document of files in the format of the samples, each given by its name and its text.
///
/// # Errors
/// The first file that can't be read, with what is wrong in it.
pub fn read(files: impl IntoIterator<Item = (String, String)>) -> Result<Vec<Edit>, SampleError> {
    let mut edits = Vec::new();
    for (file, text) in files {
        let found =
            serde_saphyr::from_str(&text).map_err(|error| error.to_string()).and_then(|value| read_file(&value));
        edits.extend(found.map_err(|what| SampleError { file, what })?);
    }
    Ok(edits)
}

/// Loads these documents as the samples, if nothing was ever written here.
///
/// # Errors
/// A database that does not answer; documents that break a rule.
pub async fn load(state: &State, edits: Vec<Edit>) -> Result<Option<(usize, Position)>, Error> {
    let count = edits.len();
    let author = Author::program(AUTHOR);
    let (loaded, position) = editorial::write(state, &author, Some("The sample glossary"), async |write| {
        let first = write.is_first().await?;
        if first {
            write.apply(edits.clone()).await?;
        }
        Ok(first)
    })
    .await?;
    Ok(loaded.then_some((count, position)))
}

fn read_file(file: &Value) -> Result<Vec<Edit>, String> {
    let members = file.as_object().ok_or("expected a mapping")?;
    if let Some(unknown) = members.keys().find(|name| !["category", "terms", "companies"].contains(&name.as_str())) {
        return Err(format!("unknown member {unknown}; a file has category, terms and companies"));
    }
    let category = members.get("category");
    let slug = category.and_then(|category| category.get("slug")).cloned();
    let mut edits = Vec::new();
    if let Some(category) = category {
        let document = CategoryDocument::parse(category).map_err(|faults| said("category", &faults))?;
        edits.push(Edit::Category(Target::New, document));
    }
    for company in list(members, "companies") {
        let document = CompanyDocument::parse(company).map_err(|faults| said(&named(company), &faults))?;
        edits.push(Edit::Company(Target::New, document));
    }
    for term in list(members, "terms") {
        let mut term = term.clone();
        if let (Some(members), Some(slug)) = (term.as_object_mut(), &slug) {
            members.insert("category".into(), slug.clone());
        }
        let document = TermDocument::parse(&term).map_err(|faults| said(&named(&term), &faults))?;
        edits.push(Edit::Term(Target::New, document));
    }
    Ok(edits)
}

fn list<'v>(members: &'v Map<String, Value>, name: &str) -> impl Iterator<Item = &'v Value> {
    members.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn named(document: &Value) -> String {
    document.get("slug").unwrap_or(&json!("?")).to_string()
}

fn said(document: &str, faults: &[Fault]) -> String {
    let lines = faults
        .iter()
        .map(|fault| format!("{document}{}: {}", fault.pointer.as_deref().unwrap_or_default(), fault.detail));
    lines.collect::<Vec<_>>().join("; ")
}
