//! Bodies that an older renderer has made into HTML.

use crate::{editorial, error::Error, markdown, state::State, tokens::Author};

/// How many bodies one transaction renders: others may write in between.
const PART: i64 = 500;

/// Makes the HTML of those bodies anew, at the start of a version with a newer renderer. Several instances may do so at
/// once: each takes what the others have left. An older one never renders backwards.
///
/// # Errors
/// A database that does not answer.
pub async fn render_again(state: &State) -> Result<usize, Error> {
    let mut rendered = 0;
    while is_behind(state).await? {
        let (part, _) = editorial::write(state, &Author::program("termbase"), None, async |write| {
            let conn = write.connection();
            let rows = sqlx::query!(
                r#"
                select id, body from terms where body_renderer < $1 order by id limit $2 for no key update
                "#,
                markdown::RENDERER_VERSION,
                PART
            )
            .fetch_all(&mut *conn)
            .await?;
            if rows.is_empty() {
                return Ok(0);
            }
            // A body that is stored has passed the renderer; one that a newer renderer refuses stays empty, and is found
            // by the version beside it.
            let html: Vec<String> = rows.iter().map(|row| markdown::render(&row.body).unwrap_or_default()).collect();
            let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
            sqlx::query!(
                r#"
                update terms t set body_html = n.html, body_renderer = $3
                  from unnest($1::uuid[], $2::text[]) as n (id, html) where t.id = n.id
                "#,
                &ids,
                &html,
                markdown::RENDERER_VERSION
            )
            .execute(conn)
            .await?;
            write.reset();
            Ok(ids.len())
        })
        .await?;
        rendered += part;
    }
    Ok(rendered)
}

async fn is_behind(state: &State) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists(select from terms where body_renderer < $1) as "behind!""#,
        markdown::RENDERER_VERSION
    )
    .fetch_one(&state.database())
    .await
}
