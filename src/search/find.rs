//! What is found, best first: the one place that knows how. An engine inside the process can take its place without a
//! change of what is answered.
//!
//! Tiers: the whole name; a whole acronym or alias; a name or alias that begins with what is asked; one that has all of its
//! words; one that differs by a few letters, in all of it or a part (by optimal string alignment, among those that share enough
//! trigrams); last, texts that have all of its words. So what is short and exact (`AI`, `R`, `C++`) stands before all that
//! merely begins like it. Wrong letters are only thought of where no name is found, nor several words in one text: whoever
//! finds has spelled it right, and likeness is what costs most.

use std::collections::{HashMap, HashSet};

use serde::{
    Deserialize, Serialize,
    de::{IntoDeserializer, value::Error as NoTier},
};
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::categories::CategoryLink;

/// How much is found at most: what nobody pages to is not sorted.
pub const FOUND_MAX: i64 = 1000;

/// How many names one thing has at most: its own and its aliases. So many of one leave the others' their place.
const NAMES_MAX: i64 = 51;

/// Why something is found, the best reason first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The name is what is asked.
    Name,
    /// An acronym or another alias is.
    Alias,
    /// A name begins with it.
    Prefix,
    /// A name has all of its words.
    Words,
    /// A name, or a part of one, differs from it by a few letters.
    Typo,
    /// The texts have all of its words.
    Text,
}

/// What is asked for.
pub struct Asked {
    pub text: String,
    /// The text folded as a name.
    pub key: String,
    pub status: &'static str,
    pub kind: Option<&'static str>,
    /// A category and those below it.
    pub categories: Option<Vec<Uuid>>,
    /// Whether texts are searched too.
    pub texts: bool,
    pub max: i64,
}

/// How many letters a name may differ by from what is asked. In what is shorter than four, one more would make it any
/// other.
fn distance(key: &str) -> usize {
    match key.chars().count() {
        0..4 => 0,
        4..8 => 1,
        8..16 => 2,
        _ => 3,
    }
}

/// How far a name is from what is asked, in letters: as a whole, or in a part of it that has as many words, the last of which
/// may be cut, since it may still be typed. `None` where it is too far to be meant.
fn typo(name_key: &str, key: &str) -> Option<(bool, usize)> {
    let (most, letters) = (distance(key), key.chars().count());
    let near = |text: &str| {
        // To compare costs their product, and most are of another length.
        let may_be = text.chars().count().abs_diff(letters) <= most;
        may_be.then(|| strsim::osa_distance(text, key)).filter(|distance| *distance <= most)
    };
    if let Some(distance) = near(name_key) {
        return Some((false, distance));
    }
    let all: Vec<&str> = name_key.split(' ').collect();
    let parts = all.windows(key.split(' ').count()).map(|words| words.join(" "));
    let heads = parts.flat_map(|part| {
        let lengths = letters.saturating_sub(1)..=letters + 1;
        lengths.map(move |length| part.chars().take(length).collect::<String>())
    });
    heads.filter_map(|head| near(&head)).min().map(|distance| (true, distance))
}

/// How much of their trigrams names share at least that differ by that much, from 0 to 1: a letter changes up to three of
/// them, which is half of those of a short name. Less would bring more to compare than to find.
#[must_use]
pub fn likeness(key: &str) -> f32 {
    if (5..7).contains(&key.chars().count()) { 0.25 } else { 0.28 }
}

/// One thing that is found, by its best name.
#[derive(Debug)]
pub struct Match {
    pub kind: String,
    pub id: Uuid,
    /// Where it stands itself: a term's category, those of a company, or the category.
    pub categories: Vec<Uuid>,
    pub tier: Tier,
    /// Whose name it is: `name`, or an alias' kind.
    pub role: String,
    /// The name by which it is found.
    pub name: String,
    /// Among typos: whether a part of the name is meant.
    pub is_part: bool,
    /// Among texts: whether the definition, with the name, has all words.
    pub in_first: bool,
}

/// Everything that is found, best first, each once; at most as much as is asked.
///
/// # Errors
/// A database that does not answer.
pub async fn find(conn: &mut PgConnection, asked: &Asked) -> Result<Vec<Match>, sqlx::Error> {
    let found = ranked(whole(&mut *conn, asked).await?, asked)?;
    // Last of all a part of a name is compared, since that costs most.
    if found.is_empty() && distance(&asked.key) > 0 {
        return ranked(parts(conn, asked).await?, asked);
    }
    Ok(found)
}

/// A name or a text that is found.
struct Row {
    kind: String,
    id: Uuid,
    categories: Vec<Uuid>,
    role: String,
    name: String,
    name_key: String,
    tier: String,
    /// Of those that are equally good the smaller one comes first.
    size: i32,
    in_first: bool,
}

/// Names and texts that have what is asked, and names that are like it as a whole.
async fn whole(conn: &mut PgConnection, asked: &Asked) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"
        with asked as materialized (
            select name_query($1) as names, text_query($2) as texts
        ),
        named as materialized (
            select * from (
                (select n.kind, n.id, n.category_id, n.role, n.name, n.name_key,
                        case when n.name_key <> $1 then 'prefix' when n.role = 'name' then 'name' else 'alias' end as tier,
                        char_length(n.name_key) as size
                   from search_names n
                  where n.name_key >= $1 and n.name_key < $1 || chr(1114111)
                    and (n.role <> 'hidden' or n.name_key = $1 or char_length($1) > 3)
                    and n.status = $3 and ($4::text is null or n.kind = $4)
                    and ($5::uuid[] is null or n.category_id = any($5) or n.kind = 'company' and exists (
                            select from company_categories l where l.company_id = n.id and l.category_id = any($5)))
                  order by n.name_key <> $1, n.role <> 'name', size, n.name_key
                  limit $6)
                union all
                (select n.kind, n.id, n.category_id, n.role, n.name, n.name_key, 'words', char_length(n.name_key) as size
                   from search_names n
                  where n.name_words @@ (select names from asked) and (n.role <> 'hidden' or char_length($1) > 3)
                    and n.status = $3 and ($4::text is null or n.kind = $4)
                    and ($5::uuid[] is null or n.category_id = any($5) or n.kind = 'company' and exists (
                            select from company_categories l where l.company_id = n.id and l.category_id = any($5)))
                  order by n.role <> 'name', size, n.name_key
                  limit $6)
            ) names
        ),
        texts as materialized (
            select n.kind, n.id, n.category_id, 'name' as role, n.name, n.name_key, 'text' as tier,
                   length(n.first_words) as size,
                   n.first_words @@ (select texts from asked) as in_first
              from search_texts n
             where $7 and n.text_words @@ (select texts from asked)
               and n.status = $3 and ($4::text is null or n.kind = $4)
               and ($5::uuid[] is null or n.category_id = any($5) or n.kind = 'company' and exists (
                       select from company_categories l where l.company_id = n.id and l.category_id = any($5)))
             order by in_first desc, size, n.name_key
             limit $6
        ),
        alike as materialized (
            select n.kind, n.id, n.category_id, n.role, n.name, n.name_key, 'typo' as tier,
                   (1000 * (n.name_key <-> $1))::integer as size
              from search_names n
             where $8 and not exists (select from named) and ($9 or not exists (select from texts)) and n.name_key % $1
               and n.status = $3 and ($4::text is null or n.kind = $4)
               and ($5::uuid[] is null or n.category_id = any($5) or n.kind = 'company' and exists (
                       select from company_categories l where l.company_id = n.id and l.category_id = any($5)))
             order by size, n.name_key
             limit 60
        )
        select kind as "kind!", id as "id!", case when kind = 'company'
                    then array(select l.category_id from company_categories l where l.company_id = found.id)
                    else array[category_id] end as "categories!", role as "role!", name as "name!",
               name_key as "name_key!", tier as "tier!", size as "size!", in_first as "in_first!"
          from (select *, false as in_first from named
                union all
                select *, false from alike
                union all
                select * from texts) found
        "#,
        asked.key,
        asked.text,
        asked.status,
        asked.kind,
        asked.categories.as_deref(),
        (asked.max * NAMES_MAX).min(FOUND_MAX),
        asked.texts,
        distance(&asked.key) > 0,
        !asked.key.contains(' ')
    )
    .fetch_all(conn)
    .await
}

/// Names of which a part is like what is asked.
async fn parts(conn: &mut PgConnection, asked: &Asked) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"
        select kind as "kind!", id as "id!",
               case when kind = 'company'
                    then array(select l.category_id from company_categories l where l.company_id = found.id)
                    else array[category_id] end as "categories!",
               role as "role!", name as "name!", name_key as "name_key!", 'typo' as "tier!", size as "size!", false as "in_first!"
          from (select n.kind, n.id, n.category_id, n.role, n.name, n.name_key, (1000 * (n.name_key <-> $1))::integer as size
                  from search_names n
                 where n.name_key %> $1
                   and n.status = $2 and ($3::text is null or n.kind = $3)
                   and ($4::uuid[] is null or n.category_id = any($4) or n.kind = 'company' and exists (
                           select from company_categories l where l.company_id = n.id and l.category_id = any($4)))
                 order by size, n.name_key
                 limit 100) found
        "#,
        asked.key,
        asked.status,
        asked.kind,
        asked.categories.as_deref()
    )
    .fetch_all(conn)
    .await
}

fn ranked(rows: Vec<Row>, asked: &Asked) -> Result<Vec<Match>, sqlx::Error> {
    let mut ranked = Vec::with_capacity(rows.len());
    for row in rows {
        // Spelt in the statements as it is in the answer.
        let tier = Tier::deserialize(row.tier.as_str().into_deserializer())
            .map_err(|error: NoTier| sqlx::Error::decode(error))?;
        let typo = if tier == Tier::Typo { typo(&row.name_key, &asked.key) } else { Some((false, 0)) };
        let Some(typo) = typo else { continue };
        let (role, kind) = (place(ROLES, &row.role), place(KINDS, &row.kind));
        let rank = (tier, typo, !row.in_first, role, row.size, row.name_key, kind);
        let found = Match {
            kind: row.kind,
            id: row.id,
            categories: row.categories,
            tier,
            role: row.role,
            name: row.name,
            is_part: typo.0,
            in_first: row.in_first,
        };
        ranked.push((rank, found));
    }
    // By its id in the end, so that pages follow each other.
    ranked.sort_unstable_by(|(rank, found), (other, next)| (rank, found.id).cmp(&(other, next.id)));
    let mut known = HashSet::new();
    let found = ranked.into_iter().map(|(_, found)| found).filter(|found| known.insert(found.id));
    Ok(found.take(usize::try_from(asked.max).unwrap_or(usize::MAX)).collect())
}

/// Of names that are equally good the better one: what something is called before what it is called too.
const ROLES: &[&str] = &["name", "acronym", "synonym", "spelling", "deprecated", "hidden"];
const KINDS: &[&str] = &["term", "category", "company"];

fn place(order: &[&str], word: &str) -> usize {
    order.iter().position(|known| *known == word).unwrap_or(order.len())
}

impl Match {
    /// The alias by which it is found, if it may be shown.
    #[must_use]
    pub fn alias(&self) -> Option<&str> {
        (self.role != "name" && self.role != "hidden").then_some(self.name.as_str())
    }

    /// Whether all of the name is what was asked for, or meant.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self.tier, Tier::Name | Tier::Alias) || (self.tier == Tier::Typo && !self.is_part)
    }
}

/// The texts of something that is shown.
pub struct Card {
    pub id: Uuid,
    pub slug: String,
    pub name: String,
    pub acronyms: Vec<String>,
    pub text: String,
    pub status: String,
    pub categories: Json<Vec<CategoryLink>>,
    /// Of a category the one above.
    pub parent: Option<Uuid>,
    /// Of those alone that are found in it.
    pub body: Option<String>,
}

/// What a page shows of each thing on it, by id; and the `categories` that are only named, with those above them.
///
/// # Errors
/// A database that does not answer.
pub async fn cards(
    conn: &mut PgConnection,
    shown: &[&Match],
    categories: &[Uuid],
) -> Result<HashMap<Uuid, Card>, sqlx::Error> {
    let ids: Vec<Uuid> = shown.iter().map(|found| found.id).collect();
    let in_body: Vec<Uuid> =
        shown.iter().filter(|found| found.tier == Tier::Text && !found.in_first).map(|found| found.id).collect();
    let cards = sqlx::query_as!(
        Card,
        r#"
        select t.id as "id!", t.slug as "slug!", t.name as "name!",
               array(select a.name from term_aliases a where a.term_id = t.id and a.kind = 'acronym' order by a.position) as "acronyms!",
               t.definition as "text!", t.status as "status!",
               json_build_array(json_build_object('id', c.id, 'slug', c.slug, 'name', c.name)) as "categories!: Json<Vec<CategoryLink>>",
               null::uuid as "parent?", case when t.id = any($2) then t.body end as "body?"
          from terms t join categories c on c.id = t.category_id where t.id = any($1)
        union all
        select c.id, c.slug, c.name, '{}', c.description, 'published', '[]', c.parent_id, null
          from categories c where c.deleted_at is null and (c.id = any($1) or c.id in (
                   with recursive up (id) as (
                       select unnest($3::uuid[]) union select p.parent_id from up join categories p on p.id = up.id
                   )
                   select id from up))
        union all
        select k.id, k.slug, k.name, '{}', k.description, k.status,
               (select coalesce(json_agg(json_build_object('id', c.id, 'slug', c.slug, 'name', c.name) order by c.name_key, c.id), '[]')
                  from company_categories l join categories c on c.id = l.category_id and c.deleted_at is null
                 where l.company_id = k.id), null, null
          from companies k where k.id = any($1)
        "#,
        &ids,
        &in_body,
        categories
    )
    .fetch_all(conn)
    .await?;
    Ok(cards.into_iter().map(|card| (card.id, card)).collect())
}
