//! What a document claims for its entity alone: a slug, and a name.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Entity, Kind, Names,
    plan::{Batch, Change},
    refusal::Refusal,
};
use crate::{
    error::{Conflict, Error, Fault},
    http::slug::Slug,
    names::Name,
};

/// Gives each document its slug: the one that it asks for, the one that its entity has, or one made from its name and
/// numbered where that is taken.
pub(super) async fn claim_slugs<D: Entity>(
    conn: &mut PgConnection,
    batch: &mut Batch<D>,
    names: &mut Names,
    refusal: &mut Refusal,
) -> Result<(), Error> {
    let Batch { wanted, before } = batch;
    for want in wanted.iter_mut() {
        let asked = match &want.change {
            Change::Document(written) => D::wanted_slug(written),
            Change::Delete | Change::Restore => None,
        };
        want.slug = asked.or(before.get(&want.id).map(|stored| &stored.slug)).cloned();
    }
    // What keeps its slug has it, and need not ask.
    let asked: Vec<&str> = wanted
        .iter()
        .filter_map(|want| want.slug.as_ref().filter(|slug| before.get(&want.id).is_none_or(|b| b.slug != **slug)))
        .map(Slug::as_str)
        .collect();
    let taken = taken(conn, D::KIND, &asked).await?;
    let mut claimed: HashMap<Slug, Uuid> = HashMap::new();
    for want in wanted.iter() {
        let Some(slug) = &want.slug else { continue };
        let holder = taken.get(slug.as_str()).filter(|(id, _)| *id != want.id);
        if let Some((_, name)) = holder {
            let conflict = Conflict { kind: D::KIND.as_str().into(), slug: slug.to_string(), name: name.clone() };
            let detail = format!("The slug \"{slug}\" belongs to \"{name}\", now or formerly; choose another.");
            refusal.clash(want.edit, Fault::body("/slug", "slug_taken", detail), conflict);
        } else if claimed.insert(slug.clone(), want.id).is_some_and(|other| other != want.id) {
            refusal.add(
                want.edit,
                vec![Fault::body("/slug", "slug_taken", format!("Another document here has the slug \"{slug}\" too."))],
            );
        }
    }
    // Each of several with one name gets a number of its own in the first round; only what others hold takes another.
    let mut numbers: HashMap<Slug, u32> = HashMap::new();
    loop {
        // A document without a slug is a new one: what is there has the slug that it had.
        let mut nameless = Vec::new();
        for want in wanted.iter_mut().filter(|want| want.slug.is_none()) {
            let Change::Document(written) = &want.change else { continue };
            let base = Slug::from_name(D::written_name(written).as_str());
            let number = numbers.entry(base.clone()).or_insert(0);
            *number += 1;
            let candidate = if *number == 1 { base } else { base.numbered(*number) };
            nameless.push((want, candidate));
        }
        if nameless.is_empty() {
            break;
        }
        let asked: Vec<&str> = nameless.iter().map(|(_, candidate)| candidate.as_str()).collect();
        let taken = self::taken(conn, D::KIND, &asked).await?;
        for (want, candidate) in nameless {
            if !taken.contains_key(candidate.as_str()) && !claimed.contains_key(&candidate) {
                claimed.insert(candidate.clone(), want.id);
                want.slug = Some(candidate);
            }
        }
    }
    for want in wanted.iter() {
        if let Some(slug) = &want.slug {
            names.add(D::KIND, slug, want.id);
        }
    }
    Ok(())
}

/// Who holds these slugs, now or formerly, and under which name.
async fn taken(
    conn: &mut PgConnection,
    kind: Kind,
    slugs: &[&str],
) -> Result<HashMap<String, (Uuid, String)>, sqlx::Error> {
    if slugs.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"
        select h.slug, h.entity, coalesce(t.name, c.name, k.name) as "name!"
          from slug_history h
          left join terms t on h.kind = 'term' and t.id = h.entity
          left join categories c on h.kind = 'category' and c.id = h.entity
          left join companies k on h.kind = 'company' and k.id = h.entity
         where h.kind = $1 and h.slug = any($2)
        "#,
        kind.as_str(),
        slugs as &[&str]
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.slug, (row.entity, row.name))).collect())
}

/// A name is unique among the live terms, and among the live categories. What goes into the trash, or stays there, claims
/// none; what comes out of it does.
pub(super) async fn claim_names<D: Entity>(
    conn: &mut PgConnection,
    batch: &Batch<D>,
    refusal: &mut Refusal,
) -> Result<(), Error> {
    let mut claims: Vec<(usize, &Name)> = Vec::new();
    let mut keys: Vec<&str> = Vec::new();
    for want in &batch.wanted {
        let before = batch.before.get(&want.id);
        let name = match (&want.change, before) {
            (Change::Delete, _) => None,
            (Change::Document(_), Some(before)) if before.deleted_at.is_some() => None,
            (Change::Document(written), _) => Some(D::written_name(written)),
            (Change::Restore, before) => before.map(|before| before.document.name()),
        };
        let Some(name) = name else { continue };
        claims.push((want.edit, name));
        // What keeps its name has it, and need not ask.
        let held = before.filter(|before| before.deleted_at.is_none()).map(|before| before.document.name().key());
        if held != Some(name.key()) {
            keys.push(name.key());
        }
    }
    let held = if keys.is_empty() { HashMap::new() } else { held(conn, batch, &keys).await? };
    let mut seen = HashSet::new();
    for (edit, name) in claims {
        if let Some((slug, holder)) = held.get(name.key()) {
            let conflict = Conflict { kind: D::KIND.as_str().into(), slug: slug.clone(), name: holder.clone() };
            let detail = format!(
                "The name is that of \"{holder}\" ({slug}), case, accents and punctuation aside; choose another."
            );
            refusal.clash(edit, Fault::body("/name", "name_taken", detail), conflict);
        } else if !seen.insert(name.key()) {
            let detail = "Another document here has the same name, case, accents and punctuation aside.";
            refusal.add(edit, vec![Fault::body("/name", "name_taken", detail)]);
        }
    }
    Ok(())
}

/// Who holds these names, and under which slug. Names that this write gives up are free; those of what it writes are
/// compared with each other.
async fn held<D: Entity>(
    conn: &mut PgConnection,
    batch: &Batch<D>,
    keys: &[&str],
) -> Result<HashMap<String, (String, String)>, sqlx::Error> {
    let ids: Vec<Uuid> = batch.wanted.iter().map(|want| want.id).collect();
    let rows = sqlx::query!(
        r#"
        select t.name_key as "name_key!", t.slug as "slug!", t.name as "name!" from terms t
         where $1 = 'term' and t.deleted_at is null and t.name_key = any($2) and t.id <> all($3)
        union all
        select c.name_key, c.slug, c.name from categories c
         where $1 = 'category' and c.deleted_at is null and c.name_key = any($2) and c.id <> all($3)
        "#,
        D::KIND.as_str(),
        keys as &[&str],
        &ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.name_key, (row.slug, row.name))).collect())
}
