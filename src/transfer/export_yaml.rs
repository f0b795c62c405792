//! Export as YAML: a folder with a file a category, for people and git.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{schema, yaml};
use crate::{
    categories::CategoryDocument,
    changes::Position,
    companies::CompanyDocument,
    editorial::{Entity, Kind, Names, PART, Stored},
    error::Error,
    postgres,
    state::State,
    terms::TermDocument,
};

/// What an export has written.
#[derive(Debug)]
pub struct Exported {
    /// The place in the log that the files show.
    pub position: Position,
    pub categories: usize,
    pub companies: usize,
    pub terms: usize,
    /// The files, in the order in which they were written.
    pub files: Vec<PathBuf>,
}

/// Why an export could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{} can't be written: {source}", path.display())]
    Unwritable { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Writes the glossary as of one moment into the folder `into`, which is made where it is not there. Drafts are in it, the
/// trash is not, and neither are links to what is in the trash. Files that are there already are written over, others
/// stay.
///
/// # Errors
/// [`ExportError`].
pub async fn export_yaml(state: &State, into: &Path) -> Result<Exported, ExportError> {
    let mut snapshot = postgres::snapshot(&state.database()).await.map_err(Error::from)?;
    let position = state.position(postgres::position(&mut snapshot).await.map_err(Error::from)?);
    std::fs::create_dir_all(into).map_err(|source| ExportError::Unwritable { path: into.to_owned(), source })?;
    let mut exported = Exported { position, categories: 0, companies: 0, terms: 0, files: Vec::new() };
    exported.write(into, schema::FILE_NAME, &schema::schema())?;
    let ids = ids_in_order(&mut snapshot, Kind::Company, None).await?;
    let companies = documents::<CompanyDocument<Uuid>>(&mut snapshot, &ids, without_deleted_categories).await?;
    if !companies.is_empty() {
        exported.companies = companies.len();
        exported.write(into, yaml::COMPANIES, &yaml::companies(&companies))?;
    }
    let ids = ids_in_order(&mut snapshot, Kind::Category, None).await?;
    // A category's parent is there as long as the category is.
    let categories = documents::<CategoryDocument<Uuid>>(&mut snapshot, &ids, |_, _| {}).await?;
    exported.categories = categories.len();
    for (id, category) in ids.iter().zip(&categories) {
        let ids = ids_in_order(&mut snapshot, Kind::Term, Some(*id)).await?;
        let terms = documents::<TermDocument<Uuid>>(&mut snapshot, &ids, without_deleted).await?;
        exported.terms += terms.len();
        let slug = category.slug.as_ref().map(ToString::to_string).unwrap_or_default();
        exported.write(into, &yaml::file_name(&slug), &yaml::category(category, &terms))?;
    }
    Ok(exported)
}

impl Exported {
    fn write(&mut self, into: &Path, name: &str, text: &str) -> Result<(), ExportError> {
        let path = into.join(name);
        std::fs::write(&path, text).map_err(|source| ExportError::Unwritable { path: path.clone(), source })?;
        self.files.push(path);
        Ok(())
    }
}

/// What is not in the trash, in the order of the slugs; terms of one category alone.
async fn ids_in_order(conn: &mut sqlx::PgConnection, kind: Kind, category: Option<Uuid>) -> Result<Vec<Uuid>, Error> {
    let rows = sqlx::query!(
        r#"
        select id as "id!" from (
            select id, slug from terms where $1 = 'term' and category_id = $2 and deleted_at is null
            union all
            select id, slug from categories where $1 = 'category' and deleted_at is null
            union all
            select id, slug from companies where $1 = 'company' and deleted_at is null) e
         order by slug
        "#,
        kind.as_str(),
        category
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// The documents of entities as they are shown, after `tidy` took out what a file can't have.
async fn documents<D: Entity>(
    conn: &mut sqlx::PgConnection,
    ids: &[Uuid],
    tidy: fn(&mut D, &Names),
) -> Result<Vec<D::Shown>, Error> {
    let mut shown = Vec::with_capacity(ids.len());
    for part in ids.chunks(PART) {
        let mut stored = D::load(conn, part).await?;
        let names = Names::of_documents(conn, stored.values().map(|stored| &stored.document)).await?;
        let in_order = part.iter().filter_map(|id| stored.remove(id));
        shown.extend(in_order.map(|Stored { mut document, .. }| {
            tidy(&mut document, &names);
            document.shown(&names)
        }));
    }
    Ok(shown)
}

/// Links to what is in the trash would be links to nothing where the files come in.
fn without_deleted(term: &mut TermDocument<Uuid>, names: &Names) {
    let TermDocument { related, broader, replaced_by, companies, .. } = term;
    // A deprecated term without a replacement would be no document: there the dead end is told of.
    let replaced = replaced_by.iter().any(|id| !names.is_deleted(*id));
    let all = [related, broader, companies].into_iter().chain(replaced.then_some(replaced_by));
    all.for_each(|links| links.retain(|id| !names.is_deleted(*id)));
}

fn without_deleted_categories(company: &mut CompanyDocument<Uuid>, names: &Names) {
    company.categories.retain(|id| !names.is_deleted(*id));
}
