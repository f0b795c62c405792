//! Purging: what is in the trash goes for good, with its history. Its slugs are free, and nothing leads to it any more.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Edit, Entity, Kind, Target, Touched, What, Write, write::Pending};
use crate::{
    categories::CategoryDocument,
    companies::CompanyDocument,
    error::{Conflict, Error},
    terms::TermDocument,
};

impl Write {
    /// Removes an entity that is in the trash, its revisions, and every link to it: each document that had one gets a
    /// new version without it, in the same write. `false` where nothing in the trash has this id.
    ///
    /// # Errors
    /// [`Error::Conflict`] where a deprecated term would be left without a replacement; a database that does not answer.
    pub async fn purge(&mut self, id: Uuid) -> Result<bool, Error> {
        let kind = sqlx::query_scalar!(
            r#"
            select 'term' as "kind!" from terms where id = $1 and deleted_at is not null
            union all
            select 'category' from categories where id = $1 and deleted_at is not null
            union all
            select 'company' from companies where id = $1 and deleted_at is not null
            "#,
            id
        )
        .fetch_optional(self.connection())
        .await?;
        match kind.as_deref().and_then(Kind::parse) {
            None => Ok(false),
            Some(Kind::Term) => self.purge_one::<TermDocument<Uuid>>(id).await,
            Some(Kind::Category) => self.purge_one::<CategoryDocument<Uuid>>(id).await,
            Some(Kind::Company) => self.purge_one::<CompanyDocument<Uuid>>(id).await,
        }
    }

    async fn purge_one<D: Entity>(&mut self, id: Uuid) -> Result<bool, Error> {
        D::lock(self.connection(), &[id]).await?;
        let Some(stored) = D::load(self.connection(), &[id]).await?.remove(&id) else { return Ok(false) };
        if stored.deleted_at.is_none() {
            return Ok(false);
        }
        let edits = without(self.connection(), id).await?;
        self.bring_in(edits, true).await?;
        let conn = self.connection();
        D::remove(&mut *conn, id).await?;
        sqlx::query!("delete from revisions where entity = $1", id).execute(&mut *conn).await?;
        let slugs = sqlx::query_scalar!(
            "delete from slug_history where kind = $1 and entity = $2 returning slug",
            D::KIND.as_str(),
            id
        )
        .fetch_all(conn)
        .await?;
        let mut touched = Touched::default();
        if stored.published_at.is_some() {
            let kind = D::KIND.as_str();
            touched.key(format!("{kind}:{id}/card"));
            touched.key(format!("slug:{kind}/{id}"));
            slugs.iter().for_each(|slug| touched.key(format!("slug:{kind}/{slug}")));
        }
        self.pend(Pending {
            kind: D::KIND,
            id,
            what: What::Purged,
            slug: stored.slug.to_string(),
            former_slug: None,
            public_before: false,
            public_after: false,
            touched,
        });
        Ok(true)
    }
}

/// The documents that link to the entity, each without that link.
async fn without(conn: &mut PgConnection, id: Uuid) -> Result<Vec<Edit>, Error> {
    let owners = sqlx::query!(
        r#"
        select 'term' as "kind!", owner as "id!" from term_relations where other = $1
        union
        select 'term', term_id from term_companies where company_id = $1
        union
        select 'company', company_id from company_categories where category_id = $1
        union
        select 'category', c.id from categories c where c.parent_id = $1
        order by 2
        "#,
        id
    )
    .fetch_all(&mut *conn)
    .await?;
    let of = |kind: Kind| -> Vec<Uuid> {
        owners
            .iter()
            .filter(|owner| owner.kind == kind.as_str())
            .map(|owner| owner.id)
            .filter(|owner| *owner != id)
            .collect()
    };
    let mut conflicts = Vec::new();
    let mut edits = Vec::new();
    rewritten::<CategoryDocument<Uuid>>(conn, &of(Kind::Category), id, &mut edits, &mut conflicts).await?;
    rewritten::<CompanyDocument<Uuid>>(conn, &of(Kind::Company), id, &mut edits, &mut conflicts).await?;
    rewritten::<TermDocument<Uuid>>(conn, &of(Kind::Term), id, &mut edits, &mut conflicts).await?;
    if conflicts.is_empty() {
        return Ok(edits);
    }
    let detail = "A deprecated term names nothing else that replaces it; give it another replacement first.".into();
    Err(Error::Conflict { detail, conflicts })
}

async fn rewritten<D: Entity>(
    conn: &mut PgConnection,
    owners: &[Uuid],
    id: Uuid,
    edits: &mut Vec<Edit>,
    conflicts: &mut Vec<Conflict>,
) -> Result<(), Error> {
    D::lock(conn, owners).await?;
    for (owner, stored) in D::load(conn, owners).await? {
        match stored.document.without(id) {
            Some(written) => edits.push(D::edit(Target::Existing(owner), written)),
            None => conflicts.push(stored.conflict()),
        }
    }
    Ok(())
}
