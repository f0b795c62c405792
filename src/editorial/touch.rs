//! Which keys a change touches.
//!
//! Most follow from the document before and after. What depends on others (is the other end of this link public? who
//! are the neighbours of what becomes visible?) is looked up once the head is held: only then is everything that
//! commits before this change there to see, and nothing can be added any more.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Kind;
use crate::changes::Keys;

/// The keys of one change: those known so far, and what to look up.
#[derive(Debug, Default)]
pub struct Touched {
    pub keys: Keys,
    /// Entities whose page shows this one, or the other way round: touched where they are public.
    ends: BTreeSet<(Kind, Uuid)>,
    /// Categories whose lists of terms (their ancestors' included) change.
    lists: BTreeSet<Uuid>,
    /// Becomes visible or invisible: every neighbour's page changes.
    flips: bool,
}

impl Touched {
    pub fn key(&mut self, key: String) {
        self.keys.add(key);
    }

    pub fn end(&mut self, kind: Kind, id: Uuid) {
        self.ends.insert((kind, id));
    }

    pub fn lists_of(&mut self, category: Uuid) {
        self.lists.insert(category);
    }

    pub fn flip(&mut self) {
        self.flips = true;
    }
}

/// Looks up, for all changes at once, the keys that depend on others; `changes` are (kind, entity, its keys).
pub(super) async fn look_up(
    conn: &mut PgConnection,
    changes: &mut [(Kind, Uuid, &mut Touched)],
) -> Result<(), sqlx::Error> {
    let (mut at, mut kinds, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    let mut ask = |index: usize, what: &'static str, id: Uuid| {
        at.push(i64::try_from(index).unwrap_or(i64::MAX));
        kinds.push(what);
        ids.push(id);
    };
    for (index, (kind, id, touched)) in changes.iter().enumerate() {
        touched.ends.iter().for_each(|(kind, id)| ask(index, kind.as_str(), *id));
        touched.lists.iter().for_each(|id| ask(index, "list", *id));
        if touched.flips {
            ask(index, if *kind == Kind::Term { "term flips" } else { "company flips" }, *id);
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    let found = sqlx::query!(
        r#"
        with recursive asked as materialized (
            select * from unnest($1::bigint[], $2::text[], $3::uuid[]) as asked (change, what, id)
        ),
        flips as materialized (select change, what, id from asked where what in ('term flips', 'company flips')),
        ends as (
            select change, what, id from asked where what in ('term', 'company')
            union
            select f.change, 'term', r.other from flips f join term_relations r on r.owner = f.id
            union
            select f.change, 'term', r.owner from flips f join term_relations r on r.other = f.id
            union
            select f.change, 'company', l.company_id from flips f join term_companies l on l.term_id = f.id
            union
            select f.change, 'term', l.term_id from flips f join term_companies l on l.company_id = f.id
        ),
        lists as (
            select change, id from asked where what = 'list'
            union
            select l.change, c.parent_id from lists l join categories c on c.id = l.id where c.parent_id is not null
        )
        select e.change as "change!", 'term:' || e.id as "key!"
          from ends e join terms t on t.id = e.id
         where e.what = 'term' and t.status <> 'draft' and t.deleted_at is null
        union all
        select e.change, 'company:' || e.id || '/terms'
          from ends e join companies k on k.id = e.id
         where e.what = 'company' and k.status = 'published' and k.deleted_at is null
        union all
        select change, 'category:' || id || '/terms' from lists
        "#,
        &at,
        &kinds as &[&str],
        &ids
    )
    .fetch_all(conn)
    .await?;
    for row in found {
        let change = usize::try_from(row.change).ok().and_then(|index| changes.get_mut(index));
        if let Some((_, _, touched)) = change {
            touched.key(row.key);
        }
    }
    Ok(())
}
