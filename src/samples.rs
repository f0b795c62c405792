//! The sample glossary in `samples/`, which is inside the binary: what a first start loads.
//!
//! A file has one category and its terms, or companies. The documents are those of the API; a term's category is that
//! of its file.

use rust_embed::RustEmbed;
use serde_json::Value;

use crate::{
    categories::CategoryDocument,
    changes::Position,
    companies::CompanyDocument,
    editorial::{self, Edit, Kind, Target},
    error::Error,
    state::State,
    terms::TermDocument,
    tokens::Author,
    transfer::yaml::{self, Mark},
};

#[derive(RustEmbed)]
#[folder = "samples/"]
#[include = "*.yaml"]
struct Files;

/// What stands in the revisions of the samples.
const AUTHOR: &str = "termbase samples";

/// A sample file that can't be taken; a test reads them all.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{what}")]
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
        edits.extend(read_file(&text).map_err(|what| SampleError { file, what })?);
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

fn read_file(text: &str) -> Result<Vec<Edit>, String> {
    let file = yaml::File::read(text);
    let said = |at: Mark, detail: &str| format!("{}:{}: {detail}", at.line, at.column);
    let flaws: Vec<String> = file.flaws.iter().map(|flaw| said(flaw.at, &flaw.detail)).collect();
    if !flaws.is_empty() {
        return Err(flaws.join("; "));
    }
    let edits = file.documents.iter().map(|found| {
        let document = Value::Object(found.document.clone());
        let edit = match found.kind {
            Kind::Category => CategoryDocument::parse(&document).map(|category| Edit::Category(Target::New, category)),
            Kind::Company => CompanyDocument::parse(&document).map(|company| Edit::Company(Target::New, company)),
            Kind::Term => TermDocument::parse(&document).map(|term| Edit::Term(Target::New, term)),
        };
        edit.map_err(|faults| {
            let lines: Vec<_> = faults.iter().map(|fault| said(file.place(found, fault), &fault.detail)).collect();
            lines.join("; ")
        })
    });
    edits.collect()
}
