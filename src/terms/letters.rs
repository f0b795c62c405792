//! `GET /letters`: an index from A to Z, with how many terms stand under each letter.

use actix_web::{get, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    categories,
    changes::{Keys, Seen},
    editorial::Kind,
    error::Error,
    http::{answer::Answer, auth::Reader, lookup, query::Query},
    openapi::{ListErrors, TAG_TERMS},
    postgres,
    state::State,
};

/// A letter of the index.
#[derive(Debug, Serialize, ToSchema)]
pub struct Letter {
    /// `A` to `Z`, or `#`: digits, symbols and other scripts.
    #[schema(pattern = "^[A-Z#]$", example = "A")]
    pub letter: char,
    /// How many published terms stand under it.
    #[schema(minimum = 0, example = 3)]
    pub count: i64,
}

/// All letters, those without terms too.
#[derive(Debug, Serialize, ToSchema)]
pub struct LetterList {
    /// From A to Z, then `#`.
    #[schema(min_items = 27, max_items = 27)]
    pub items: Vec<Letter>,
    /// How many published terms there are under all letters.
    #[schema(minimum = 0, example = 18)]
    pub total: i64,
}

/// List letters
///
/// How many published terms stand under each letter, as `/terms?letter=` lists them: always all 27. É stands under E;
/// digits, symbols and other scripts under `#`.
#[utoipa::path(
    operation_id = "list_letters",
    tag = TAG_TERMS,
    params(("category" = Option<String>, Query, description = "Only terms of this category, and of those below it: a slug of the day, a former one, or an id.", example = "core-concepts", max_length = 100)),
    responses((status = 200, description = "All letters.", body = LetterList), ListErrors),
    security((), ("bearer" = []))
)]
#[get("/letters")]
pub async fn list_letters(state: Data<State>, mut query: Query, _: Reader) -> Result<Answer, Error> {
    let category = query.text("category");
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let category = lookup::filter(&mut snapshot, &mut query, "category", Kind::Category, category.as_deref()).await?;
    query.finish()?;
    let mut keys = Keys::default();
    let below = if let Some(id) = category {
        keys.add(format!("category:{id}/terms"));
        Some(categories::with_descendants(&mut snapshot, id).await?)
    } else {
        keys.add("terms".into());
        None
    };
    // By the first byte of the key: that of a letter beyond ASCII is none of a to z.
    let found = sqlx::query!(
        r#"
        select case when t.name_key >= 'a' and t.name_key < '{' then chr(ascii(t.name_key) - 32) else '#' end as "letter!", count(*) as "count!"
          from terms t
         where t.status = 'published' and t.deleted_at is null and ($1::uuid[] is null or t.category_id = any($1))
         group by 1
        "#,
        below.as_deref()
    )
    .fetch_all(&mut *snapshot)
    .await?;
    let number = postgres::position(&mut snapshot).await?;
    let count = |letter: char| found.iter().filter(|row| row.letter.starts_with(letter)).map(|row| row.count).sum();
    let items: Vec<Letter> = ('A'..='Z').chain(['#']).map(|letter| Letter { letter, count: count(letter) }).collect();
    let total = found.iter().map(|row| row.count).sum();
    Answer::json(&LetterList { items, total }, None, Seen { position: state.position(number), keys })
}
