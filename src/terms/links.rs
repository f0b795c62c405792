//! What hangs on a term: aliases, sources, companies and relations. Each set that an edit changes is written anew, for
//! all terms of the write at once.

use sqlx::PgConnection;
use uuid::Uuid;

use super::document::TermDocument;
use crate::{
    clock::Day,
    editorial::{Row, document::Choice},
};

pub(super) async fn store_aliases(
    conn: &mut PgConnection,
    rows: &[Row<TermDocument<Uuid>>],
) -> Result<(), sqlx::Error> {
    let (changed, replaced) = Row::changed(rows, |document| &document.aliases);
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query!("delete from term_aliases where term_id = any($1)", &replaced).execute(&mut *conn).await?;
    let (mut ids, mut positions, mut names, mut keys, mut kinds) = (vec![], vec![], vec![], vec![], vec![]);
    for row in &changed {
        for (position, alias) in (0_i16..).zip(&row.after.aliases) {
            ids.push(row.id);
            positions.push(position);
            names.push(alias.name.as_str());
            keys.push(alias.name.key());
            kinds.push(alias.kind.as_str());
        }
    }
    sqlx::query!(
        r#"
        insert into term_aliases (term_id, position, name, name_key, kind)
        select * from unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::text[])
        "#,
        &ids,
        &positions,
        &names as &[&str],
        &keys as &[&str],
        &kinds as &[&str]
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn store_sources(
    conn: &mut PgConnection,
    rows: &[Row<TermDocument<Uuid>>],
) -> Result<(), sqlx::Error> {
    let (changed, replaced) = Row::changed(rows, |document| &document.sources);
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query!("delete from term_sources where term_id = any($1)", &replaced).execute(&mut *conn).await?;
    let (mut ids, mut positions, mut titles, mut urls, mut publishers, mut days) =
        (vec![], vec![], vec![], vec![], vec![], vec![]);
    for row in &changed {
        for (position, source) in (0_i16..).zip(&row.after.sources) {
            ids.push(row.id);
            positions.push(position);
            titles.push(source.title.as_str());
            urls.push(source.url.as_str());
            publishers.push(source.publisher.as_deref());
            days.push(source.published_on);
        }
    }
    sqlx::query!(
        r#"
        insert into term_sources (term_id, position, title, url, publisher, published_on)
        select * from unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::text[], $6::date[])
        "#,
        &ids,
        &positions,
        &titles as &[&str],
        &urls as &[&str],
        &publishers as &[Option<&str>],
        &days as &[Option<Day>]
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn store_companies(
    conn: &mut PgConnection,
    rows: &[Row<TermDocument<Uuid>>],
) -> Result<(), sqlx::Error> {
    let (changed, replaced) = Row::changed(rows, |document| &document.companies);
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query!("delete from term_companies where term_id = any($1)", &replaced).execute(&mut *conn).await?;
    let links = changed.iter().flat_map(|row| row.after.companies.iter().map(|company| (row.id, *company)));
    let (terms, companies): (Vec<Uuid>, Vec<Uuid>) = links.unzip();
    sqlx::query!(
        "insert into term_companies (term_id, company_id) select * from unnest($1::uuid[], $2::uuid[])",
        &terms,
        &companies
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn store_relations(
    conn: &mut PgConnection,
    rows: &[Row<TermDocument<Uuid>>],
) -> Result<(), sqlx::Error> {
    let (changed, replaced) =
        Row::changed(rows, |document| (&document.related, &document.broader, &document.replaced_by));
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query!("delete from term_relations where owner = any($1)", &replaced).execute(&mut *conn).await?;
    let (mut ids, mut kinds, mut others, mut positions) = (vec![], vec![], vec![], vec![]);
    for row in &changed {
        let TermDocument { related, broader, replaced_by, .. } = &row.after;
        let sets = related
            .iter()
            .map(|other| ("related", other, None))
            .chain(broader.iter().map(|other| ("broader", other, None)));
        let ordered = (0_i16..).zip(replaced_by).map(|(position, other)| ("replaced_by", other, Some(position)));
        for (kind, other, position) in sets.chain(ordered) {
            ids.push(row.id);
            kinds.push(kind);
            others.push(*other);
            positions.push(position);
        }
    }
    sqlx::query!(
        r#"
        insert into term_relations (owner, kind, other, position)
        select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::smallint[])
        "#,
        &ids,
        &kinds as &[&str],
        &others,
        &positions as &[Option<i16>]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Everything that hangs on a term that goes for good; what others link to it is theirs to give up.
pub(super) async fn remove(conn: &mut PgConnection, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from term_aliases where term_id = $1", id).execute(&mut *conn).await?;
    sqlx::query!("delete from term_sources where term_id = $1", id).execute(&mut *conn).await?;
    sqlx::query!("delete from term_companies where term_id = $1", id).execute(&mut *conn).await?;
    sqlx::query!("delete from term_relations where owner = $1", id).execute(conn).await?;
    Ok(())
}
