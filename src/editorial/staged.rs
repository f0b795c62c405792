//! What is asked of the documents of a large write as a whole, while they wait in its temporary table: who is meant, who has
//! the slug, who has the name, and what leads back to itself.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Entity,
    bulk::{Mistakes, PART},
};
use crate::error::{Error, Fault};

/// Which of the documents are of entities that are there: by their id, or by a slug of the day or a former one.
pub(super) async fn identify(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        update incoming i set existing = true
         where i.identified and exists (select from slug_history h where h.entity = i.entity and h.kind = i.kind)
        "#
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        update incoming i set entity = h.entity, existing = true
          from slug_history h
         where not i.identified and h.kind = i.kind and h.slug = i.slug
        "#
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks what is there of a kind, in the order of the ids.
pub(super) async fn lock<D: Entity>(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut after = Uuid::nil();
    loop {
        let ids = sqlx::query_scalar!(
            "select entity from incoming where kind = $1 and existing and entity > $2 order by entity limit $3",
            D::KIND.as_str(),
            after,
            i64::try_from(PART).unwrap_or(i64::MAX)
        );
        let ids = ids.fetch_all(&mut *conn).await?;
        let Some(last) = ids.last() else { return Ok(()) };
        after = *last;
        D::lock(&mut *conn, &ids).await?;
    }
}

/// What the documents leave as it is: slug, name, and whether it is in the trash.
pub(super) async fn complete(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        update incoming i
           set slug = coalesce(i.slug, e.slug), name_key = coalesce(i.name_key, e.name_key),
               deleted = coalesce(i.deleted, e.deleted_at is not null)
          from (select id, 'term' as kind, slug, name_key, deleted_at from terms
                 where id in (select entity from incoming where kind = 'term' and existing)
                union all
                select id, 'category', slug, name_key, deleted_at from categories
                 where id in (select entity from incoming where kind = 'category' and existing)
                union all
                select id, 'company', slug, name_key, deleted_at from companies
                 where id in (select entity from incoming where kind = 'company' and existing)) e
         where i.existing and e.kind = i.kind and e.id = i.entity
        "#
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Two documents of one entity are one too many: the first one counts.
pub(super) async fn refuse_repeats(conn: &mut PgConnection, mistakes: &mut Mistakes) -> Result<(), sqlx::Error> {
    let repeats = sqlx::query!(
        r#"
        with numbered as (
            select kind, seq, file, line, slug,
                   first_value(seq) over by_entity as of_entity, first_value(seq) over by_slug as of_slug
              from incoming
            window by_entity as (partition by kind, entity order by seq),
                   by_slug as (partition by kind, coalesce(slug, entity::text) order by seq)
        ),
        gone as (
            delete from incoming i using numbered n
             where i.kind = n.kind and i.seq = n.seq and least(n.of_entity, n.of_slug) < n.seq
            returning i.kind, i.seq
        )
        select n.file as "file!", n.line as "line!", n.slug, first.line as "first_line!", first.file <> n.file as "elsewhere!"
          from gone g join numbered n on n.kind = g.kind and n.seq = g.seq
          join incoming first on first.kind = n.kind and first.seq = least(n.of_entity, n.of_slug)
         order by n.seq
        "#
    )
    .fetch_all(conn)
    .await?;
    for row in repeats {
        let slug = row.slug.unwrap_or_default();
        let place = if row.elsewhere { "another file has" } else { "there is" };
        let detail = format!(
            "\"{slug}\" stands here twice: {place} a document of it in line {} too; leave one of them out.",
            row.first_line
        );
        mistakes.add(row.file, row.line, Fault::body("/slug", "slug_taken", detail));
    }
    Ok(())
}

/// Gives the documents their slugs, former ones included; who has one keeps it.
pub(super) async fn claim_slugs(conn: &mut PgConnection, mistakes: &mut Mistakes) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into slug_history (kind, slug, entity, public)
        select kind, slug, entity, public from incoming where slug is not null
        on conflict do nothing
        "#
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        insert into slug_history (kind, slug, entity, public)
        select distinct on (kind, slug) kind, slug, entity, public
          from (select i.kind, f.slug, i.entity, bool_or(f.public) as public, min(i.seq) as seq
                  from incoming i cross join jsonb_to_recordset(i.record->'former_slugs') as f (slug text, public boolean)
                 group by i.kind, f.slug, i.entity) f
         order by kind, slug, seq
        on conflict (kind, slug) do update set public = true
         where slug_history.entity = excluded.entity and excluded.public and not slug_history.public
        "#
    )
    .execute(&mut *conn)
    .await?;
    let taken = sqlx::query!(
        r#"
        with taken as (
            select i.kind, i.seq, i.file, i.line, i.slug, null::bigint as place, h.entity,
                   not i.identified and not i.existing as unmet
              from incoming i join slug_history h on h.kind = i.kind and h.slug = i.slug and h.entity <> i.entity
            union all
            select i.kind, i.seq, i.file, i.line, f.former->>'slug', f.place - 1, h.entity, false
              from incoming i cross join jsonb_array_elements(i.record->'former_slugs') with ordinality as f (former, place)
              join slug_history h on h.kind = i.kind and h.slug = f.former->>'slug' and h.entity <> i.entity
        )
        select t.file as "file!", t.line as "line!", t.slug as "slug!", t.place, t.unmet as "unmet!", o.line as "holder_line?",
               coalesce(e.name, c.name, k.name, '') as "holder!"
          from taken t
          left join incoming o on o.kind = t.kind and o.entity = t.entity
          left join terms e on t.kind = 'term' and e.id = t.entity
          left join categories c on t.kind = 'category' and c.id = t.entity
          left join companies k on t.kind = 'company' and k.id = t.entity
         order by t.seq
        "#
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in taken {
        // Whoever had it before would have been recognised by it: somebody else has just made the same.
        if row.unmet && row.holder_line.is_none() {
            return Err(Error::Overtaken);
        }
        let holder = row.holder_line.map_or(row.holder, |line| format!("line {line}"));
        let pointer = row.place.map_or_else(|| "/slug".into(), |place| format!("/former_slugs/{place}"));
        let detail = format!("The slug \"{}\" belongs to \"{holder}\", now or formerly; choose another.", row.slug);
        mistakes.add(row.file, row.line, Fault::body(pointer, "slug_taken", detail));
    }
    let known_otherwise = sqlx::query!(
        r#"
        select i.file, i.line, h.kind as "kind!" from incoming i
          join slug_history h on h.entity = i.entity and h.kind <> i.kind
         where i.identified
         group by i.file, i.line, h.kind
        "#
    );
    for row in known_otherwise.fetch_all(conn).await? {
        let detail = format!("A {} has this id; an id is that of one entity for good.", row.kind);
        mistakes.add(row.file, row.line, Fault::body("/id", "id_taken", detail));
    }
    Ok(())
}

/// A name is unique among the live terms, and among the live categories; of those that this write brings, who has it
/// already keeps it, or the first gets it.
pub(super) async fn claim_names(conn: &mut PgConnection, mistakes: &mut Mistakes) -> Result<(), sqlx::Error> {
    let taken = sqlx::query!(
        r#"
        with named as (
            select *, exists (select from terms t where kind = 'term' and t.id = entity and t.name_key = incoming.name_key)
                   or exists (select from categories c where kind = 'category' and c.id = entity and c.name_key = incoming.name_key)
                   as keeps
              from incoming
             where kind in ('term', 'category') and name_key is not null and not coalesce(deleted, false)
        ),
        claims as (
            select seq, file, line, kind, entity, name_key,
                   first_value(line) over names as first_line, first_value(file) over names as first_file,
                   row_number() over names as number
              from named
            window names as (partition by kind, name_key order by keeps desc, seq)
        ),
        holders as (
            select 'term' as kind, t.name_key, t.name, t.slug from terms t
             where t.deleted_at is null and t.name_key in (select name_key from named where kind = 'term')
               and t.id not in (select entity from incoming where kind = 'term')
            union all
            select 'category', c.name_key, c.name, c.slug from categories c
             where c.deleted_at is null and c.name_key in (select name_key from named where kind = 'category')
               and c.id not in (select entity from incoming where kind = 'category')
        )
        select c.file as "file!", c.line as "line!", c.number as "number!", c.first_line as "first_line!",
               c.first_file <> c.file as "elsewhere!", h.name as "name?", h.slug as "slug?"
          from claims c left join holders h on h.kind = c.kind and h.name_key = c.name_key
         where c.number > 1 or h.name is not null
        "#
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in taken {
        let detail = if let (Some(name), Some(slug)) = (row.name, row.slug) {
            format!("The name is that of \"{name}\" ({slug}), case, accents and punctuation aside; choose another.")
        } else {
            let file = if row.elsewhere { "another file has it" } else { "it stands" };
            let line = row.first_line;
            format!(
                "The name stands here twice, case, accents and punctuation aside: {file} in line {line} too; choose another."
            )
        };
        mistakes.add(row.file, row.line, Fault::body("/name", "name_taken", detail));
    }
    // Names that are given up are free for others of this write: entities may swap theirs.
    sqlx::query!(
        r#"
        update terms t set name_key = t.id::text from incoming i
         where i.kind = 'term' and i.existing and i.entity = t.id and t.deleted_at is null
           and (i.name_key <> t.name_key or coalesce(i.deleted, false))
        "#
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        update categories c set name_key = c.id::text from incoming i
         where i.kind = 'category' and i.existing and i.entity = c.id and c.deleted_at is null
           and (i.name_key <> c.name_key or coalesce(i.deleted, false))
        "#
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Versions of entities that are new here; an entity's own points at the newest.
pub(super) async fn take_in_revisions(conn: &mut PgConnection, mistakes: &mut Mistakes) -> Result<(), sqlx::Error> {
    let wrong = sqlx::query!(
        r#"
        with own as (
            select r.*, i.existing, (i.record->>'version')::bigint as newest, i.entity is not null as known,
                   row_number() over (partition by r.entity, r.version order by r.seq) as number,
                   row_number() over (partition by r.id order by r.seq) as of_id
              from incoming_revisions r
              left join incoming i on i.kind = r.kind and i.entity = r.entity and i.identified
        )
        select file as "file!", line as "line!", known as "known!", newest, number as "number!", version as "version!"
          from own
         where not known
            or not existing and (version > coalesce(newest, 1) or number > 1 or of_id > 1
                                 or exists (select from revisions v where v.id = own.id))
        "#
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in wrong {
        let (pointer, code, detail) = if !row.known {
            ("/entity", "unknown_reference", "The file has no record of this entity with its id; add it.".to_owned())
        } else if row.version > row.newest.unwrap_or(1) {
            let newest = row.newest.unwrap_or(1);
            ("/version", "out_of_range", format!("The entity's version is {newest}; none of its revisions is newer."))
        } else if row.number > 1 {
            ("/version", "duplicate", format!("Version {} of this entity stands here twice.", row.version))
        } else {
            ("/id", "id_taken", "Another revision has this id.".to_owned())
        };
        mistakes.add(row.file, row.line, Fault::body(pointer, code, detail));
    }
    if !mistakes.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        insert into revisions (id, kind, entity, version, what, document, author, message, at)
        select r.id, r.kind, r.entity, r.version, r.what, r.document, r.author, r.message, r.at
          from incoming_revisions r
          join incoming i on i.kind = r.kind and i.entity = r.entity and i.identified and not i.existing
        "#
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        update incoming i set revision_id = r.id
          from incoming_revisions r
         where r.kind = i.kind and r.entity = i.entity and i.identified and not i.existing
           and r.version = coalesce((i.record->>'version')::bigint, 1)
        "#
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Every document whose links lead back to it: the database's own check stops at the first.
pub(super) async fn find_cycles(conn: &mut PgConnection, mistakes: &mut Mistakes) -> Result<(), Error> {
    let found = sqlx::query!(
        r#"
        with recursive written as (
            select distinct i.file, i.line, i.entity, m.member, h.entity as other
              from incoming i
             cross join (values ('term', 'broader'), ('term', 'replaced_by'), ('category', 'parent')) as m (kind, member)
             cross join lateral jsonb_array_elements_text(
                 case jsonb_typeof(i.document::jsonb->m.member)
                 when 'array' then i.document::jsonb->m.member
                 when 'string' then jsonb_build_array(i.document::jsonb->m.member)
                 else '[]' end) as v (reference)
             cross join lateral (
                 select s.entity from slug_history s where s.kind = i.kind and s.slug = v.reference
                 union
                 select s.entity from slug_history s
                  where s.entity = case when v.reference ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then v.reference::uuid end) h
             where i.kind = m.kind
        ),
        edges (member, owner, other) as (
            select member, entity, other from written
            union
            select r.kind, r.owner, r.other from term_relations r
             where r.kind in ('broader', 'replaced_by')
               and not exists (select from incoming i where i.kind = 'term' and i.entity = r.owner and i.document::jsonb ? r.kind)
            union
            select 'parent', c.id, c.parent_id from categories c
             where c.parent_id is not null
               and not exists (select from incoming i where i.kind = 'category' and i.entity = c.id and i.document::jsonb ? 'parent')
        ),
        walk (member, start, node) as (
            select member, entity, other from written
            union
            select w.member, w.start, e.other from walk w join edges e on e.member = w.member and e.owner = w.node
             where w.node <> w.start
        )
        select distinct w.file as "file!", w.line as "line!", w.member as "member!"
          from written w join walk on walk.member = w.member and walk.start = w.entity and walk.node = w.entity
         where w.other <> w.entity
         order by 1, 2
        "#
    )
    .fetch_all(conn)
    .await?;
    for row in found {
        let detail = format!("The {} relations lead back to where they began; leave one of them out.", row.member);
        mistakes.add(row.file, row.line, Fault::body(format!("/{}", row.member), "cycle", detail));
    }
    Ok(())
}
