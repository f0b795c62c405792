//! Which keys a change touches.
//!
//! Most follow from the document before and after. What depends on others (is the other end of this link public? who
//! are the neighbours of what becomes visible?) is looked up once the head is held: only then is everything that
//! commits before this change there to see, and nothing can be added any more. Others wait meanwhile, so each question
//! is asked once for the whole write, and not at all of what the write itself has made.

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Kind, count::Counts};
use crate::changes::Keys;

/// The keys of one change: those known so far, and what to look up.
#[derive(Debug, Default)]
pub struct Touched {
    pub keys: Keys,
    /// What categories count otherwise from now on.
    pub counts: Counts,
    /// Entities whose page shows this one, or the other way round: touched where they are public.
    pub(super) ends: BTreeSet<(Kind, Uuid)>,
    /// Categories whose lists of terms (their ancestors' included) change.
    pub(super) lists: BTreeSet<Uuid>,
    /// Every neighbour's page changes: it becomes visible or invisible, or stands elsewhere in their lists.
    pub(super) flips: bool,
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

    /// Only for what was there before: a new entity's neighbours are its own links, and those of the entities that the
    /// same write links to it, which touch their own pages.
    pub fn flip(&mut self) {
        self.flips = true;
    }
}

/// A change of this write, as far as its keys are concerned.
pub(super) struct Asking<'w> {
    pub id: Uuid,
    pub is_public: bool,
    pub touched: &'w mut Touched,
}

/// Completes the keys of all changes of a write.
pub(super) async fn look_up(conn: &mut PgConnection, changes: &mut [Asking<'_>]) -> Result<(), sqlx::Error> {
    let neighbours = neighbours(&mut *conn, changes).await?;
    for change in changes.iter_mut().filter(|change| change.touched.flips) {
        change.touched.ends.extend(neighbours.get(&change.id).into_iter().flatten());
    }
    let made: HashMap<Uuid, bool> = changes.iter().map(|change| (change.id, change.is_public)).collect();
    let public = public(&mut *conn, changes, &made).await?;
    let ancestors = ancestors(conn, changes).await?;
    for Asking { touched, .. } in changes {
        for (kind, id) in &touched.ends {
            if !made.get(id).copied().unwrap_or_else(|| public.contains(id)) {
                continue;
            }
            match kind {
                Kind::Term => touched.keys.add(format!("term:{id}")),
                Kind::Company => touched.keys.add(format!("company:{id}/terms")),
                Kind::Category => touched.keys.add(format!("category:{id}")),
            }
        }
        for id in touched.lists.iter().filter_map(|id| ancestors.get(id)).flatten() {
            touched.keys.add(format!("category:{id}/terms"));
        }
    }
    Ok(())
}

/// What is linked, in either direction, to each entity that becomes visible or invisible.
async fn neighbours(
    conn: &mut PgConnection,
    changes: &[Asking<'_>],
) -> Result<HashMap<Uuid, Vec<(Kind, Uuid)>>, sqlx::Error> {
    let ids: Vec<Uuid> = changes.iter().filter(|change| change.touched.flips).map(|change| change.id).collect();
    let mut neighbours: HashMap<Uuid, Vec<(Kind, Uuid)>> = HashMap::new();
    if ids.is_empty() {
        return Ok(neighbours);
    }
    // Ids of different kinds never meet, so one list asks for all.
    let rows = sqlx::query!(
        r#"
        select owner as "id!", other as "term", null::uuid as "company" from term_relations where owner = any($1)
        union all
        select other, owner, null from term_relations where other = any($1)
        union all
        select term_id, null, company_id from term_companies where term_id = any($1)
        union all
        select company_id, term_id, null from term_companies where company_id = any($1)
        union all
        select category_id, null, company_id from company_categories where category_id = any($1)
        "#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let ends = row.term.map(|id| (Kind::Term, id)).into_iter().chain(row.company.map(|id| (Kind::Company, id)));
        neighbours.entry(row.id).or_default().extend(ends);
    }
    Ok(neighbours)
}

/// Which of the ends that this write has not made are public.
async fn public(
    conn: &mut PgConnection,
    changes: &[Asking<'_>],
    made: &HashMap<Uuid, bool>,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let ends = changes.iter().flat_map(|change| &change.touched.ends).map(|(_, id)| *id);
    let others: Vec<Uuid> = ends.filter(|id| !made.contains_key(id)).collect::<BTreeSet<_>>().into_iter().collect();
    if others.is_empty() {
        return Ok(HashSet::new());
    }
    let ids = sqlx::query_scalar!(
        r#"
        select id as "id!" from terms where id = any($1) and status <> 'draft' and deleted_at is null
        union all
        select id from companies where id = any($1) and is_public
        "#,
        &others
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().collect())
}

/// Each category whose lists change, with those above it.
async fn ancestors(conn: &mut PgConnection, changes: &[Asking<'_>]) -> Result<HashMap<Uuid, Vec<Uuid>>, sqlx::Error> {
    let lists: BTreeSet<Uuid> = changes.iter().flat_map(|change| &change.touched.lists).copied().collect();
    let mut ancestors: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    if lists.is_empty() {
        return Ok(ancestors);
    }
    let rows = sqlx::query!(
        r#"
        with recursive up (list, id) as (
            select l.id, l.id from unnest($1::uuid[]) as l (id)
            union
            select up.list, c.parent_id from up join categories c on c.id = up.id where c.parent_id is not null
        )
        select list as "list!", id as "id!" from up
        "#,
        &lists.into_iter().collect::<Vec<_>>()
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        ancestors.entry(row.list).or_default().push(row.id);
    }
    Ok(ancestors)
}
