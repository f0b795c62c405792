//! `GET /terms?slugs=a,b`: the cards of terms that are asked for one by one, as the links of a text want them.

use std::collections::HashMap;

use sqlx::types::Json;
use uuid::Uuid;

use super::{TermCard, list::TermList};
use crate::{
    changes::{Keys, Seen},
    error::{Error, Fault},
    http::{answer::Answer, lookup::Segment, query::Query},
    state::State,
};

/// How many terms one request may ask for.
const ASKED_MAX: usize = 100;

/// All else that `/terms` takes.
const OTHERS: [&str; 10] = [
    "category",
    "descendants",
    "company",
    "letter",
    "status",
    "updated_since",
    "related_to",
    "sort",
    "limit",
    "cursor",
];

/// Takes `slugs`, as they are spelt, and refuses all that stands beside it; `None` where it is absent. A faulty one is
/// an empty list, and a fault of the query.
pub(super) fn take(query: &mut Query) -> Option<Vec<String>> {
    let mut is_there = false;
    let asked = query.take("slugs", |value| {
        is_there = true;
        let asked: Vec<String> = value.split(',').map(ToOwned::to_owned).collect();
        if asked.len() > ASKED_MAX || asked.iter().any(String::is_empty) {
            return Err(("out_of_range", format!("Expected 1 to {ASKED_MAX} slugs, separated by single commas.")));
        }
        Ok(asked)
    });
    if !is_there {
        return None;
    }
    for other in OTHERS {
        if query.take(other, |_| Ok(())).is_some() {
            query.fault(Fault::query(other, "combination", "Nothing goes with `slugs`: leave one of the two out."));
        }
    }
    Some(asked.unwrap_or_default())
}

/// The public terms among those asked for, in that order and as often, and which are missing.
pub(super) async fn answer(state: &State, query: Query, asked: &[String]) -> Result<Answer, Error> {
    query.finish()?;
    let mut keys = Keys::default();
    let (mut slugs, mut ids) = (Vec::new(), Vec::new());
    for text in asked {
        let (slug, id) = match Segment::of(text) {
            Segment::Slug(_) => (Some(text.as_str()), None),
            Segment::Id(id) => (None, Some(id)),
            // Nothing will ever be there.
            Segment::Neither(_) => (None, None),
        };
        if let Some(address) = id.map(|id| id.to_string()).as_deref().or(slug) {
            keys.add(format!("slug:term/{address}"));
        }
        slugs.push(slug);
        ids.push(id);
    }
    let found = sqlx::query!(
        r#"
        select coalesce((select max(position) from changes), 0) as "position!",
               coalesce((select json_agg(json_build_array(a.number, coalesce(a.id, h.entity), k.card))
                           from unnest($1::text[], $2::uuid[]) with ordinality as a (slug, id, number)
                           left join lateral (
                               select h.entity from slug_history h where h.kind = 'term' and h.slug = a.slug and h.public limit 1
                           ) h on true
                           left join term_cards k on k.id = coalesce(a.id, h.entity)
                          where coalesce(a.id, h.entity) is not null), '[]') as "cards!: Json<Vec<(usize, Uuid, Option<TermCard>)>>"
        "#,
        &slugs as &[Option<&str>],
        &ids as &[Option<Uuid>]
    )
    .fetch_one(&state.database())
    .await?;
    // What is there no more may come back, under all of its slugs.
    found.cards.0.iter().for_each(|(_, id, _)| keys.add(format!("term:{id}/card")));
    let mut cards: HashMap<usize, TermCard> =
        found.cards.0.into_iter().filter_map(|(number, _, card)| Some((number, card?))).collect();
    let (mut items, mut missing) = (Vec::new(), Vec::new());
    for (number, text) in (1..).zip(asked) {
        match cards.remove(&number) {
            Some(card) => items.push(card),
            None => missing.push(text.clone()),
        }
    }
    items.iter().for_each(|card| card.add_keys(&mut keys));
    let total = i64::try_from(items.len()).map_err(Error::internal)?;
    let seen = Seen { position: state.position(found.position), keys };
    Answer::json(&TermList { items, missing, next_cursor: None, total }, None, seen)
}
