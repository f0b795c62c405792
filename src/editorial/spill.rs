//! Changes of a large write that wait for their positions in a temporary table.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Kind, Touched, What, bulk::PART, write::Pending};
use crate::error::Error;

/// Puts changes that wait for their positions aside. No key, kind or id has a space in it.
pub(super) async fn spill(conn: &mut PgConnection, changes: &[Pending]) -> Result<(), sqlx::Error> {
    let joined = |words: Vec<String>| words.join(" ");
    let ends = |change: &Pending| joined(change.touched.ends.iter().map(|(_, id)| id.to_string()).collect());
    let kinds =
        |change: &Pending| joined(change.touched.ends.iter().map(|(kind, _)| kind.as_str().to_owned()).collect());
    let lists = |change: &Pending| joined(change.touched.lists.iter().map(Uuid::to_string).collect());
    sqlx::query!(
        r#"
        insert into incoming_changes (kind, entity, what, slug, former_slug, public_before, public_after, keys, end_kinds, ends,
                                      lists, flips)
        select * from unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::boolean[],
                             $8::text[], $9::text[], $10::text[], $11::text[], $12::boolean[])
        "#,
        &changes.iter().map(|change| change.kind.as_str()).collect::<Vec<_>>() as &[&str],
        &changes.iter().map(|change| change.id).collect::<Vec<_>>(),
        &changes.iter().map(|change| change.what.as_str()).collect::<Vec<_>>() as &[&str],
        &changes.iter().map(|change| change.slug.as_str()).collect::<Vec<_>>() as &[&str],
        &changes.iter().map(|change| change.former_slug.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &changes.iter().map(|change| change.public_before).collect::<Vec<_>>(),
        &changes.iter().map(|change| change.public_after).collect::<Vec<_>>(),
        &changes.iter().map(|change| change.touched.keys.joined()).collect::<Vec<_>>(),
        &changes.iter().map(kinds).collect::<Vec<_>>(),
        &changes.iter().map(ends).collect::<Vec<_>>(),
        &changes.iter().map(lists).collect::<Vec<_>>(),
        &changes.iter().map(|change| change.touched.flips).collect::<Vec<_>>()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The next part of what was put aside after `after`, which moves on; `None` at the end.
pub(super) async fn spilled(conn: &mut PgConnection, after: &mut i64) -> Result<Option<Vec<Pending>>, Error> {
    let rows = sqlx::query!(
        r#"
        select seq, kind, entity, what, slug, former_slug, public_before, public_after, keys, end_kinds, ends, lists, flips
          from incoming_changes where seq > $1 order by seq limit $2
        "#,
        *after,
        i64::try_from(PART).unwrap_or(i64::MAX)
    )
    .fetch_all(conn)
    .await?;
    let Some(last) = rows.last() else { return Ok(None) };
    *after = last.seq;
    let ids = |joined: &str| joined.split_whitespace().map(Uuid::try_parse).collect::<Result<Vec<_>, _>>();
    let unknown = || Error::internal("a change that this version has not put aside");
    let pending = rows.into_iter().map(|row| {
        let mut touched = Touched::default();
        row.keys.split_whitespace().for_each(|key| touched.key(key.to_owned()));
        for (kind, id) in row.end_kinds.split_whitespace().zip(ids(&row.ends).map_err(Error::internal)?) {
            touched.end(Kind::parse(kind).ok_or_else(unknown)?, id);
        }
        ids(&row.lists).map_err(Error::internal)?.into_iter().for_each(|category| touched.lists_of(category));
        touched.flips = row.flips;
        Ok(Pending {
            kind: Kind::parse(&row.kind).ok_or_else(unknown)?,
            id: row.entity,
            what: What::parse(&row.what).ok_or_else(unknown)?,
            slug: row.slug,
            former_slug: row.former_slug,
            public_before: row.public_before,
            public_after: row.public_after,
            touched,
        })
    });
    pending.collect::<Result<_, Error>>().map(Some)
}
