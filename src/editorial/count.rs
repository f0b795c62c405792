//! How many terms and companies each category has: kept by every write, so that showing it counts nothing.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

/// By category: how many more (or fewer) published terms stand in it, and public companies name it.
#[derive(Debug, Default)]
pub struct Counts(BTreeMap<Uuid, (i64, i64)>);

impl Counts {
    pub fn terms(&mut self, category: Uuid, more: i64) {
        self.0.entry(category).or_default().0 += more;
    }

    pub fn companies(&mut self, category: Uuid, more: i64) {
        self.0.entry(category).or_default().1 += more;
    }

    pub(super) fn add(&mut self, other: &Counts) {
        for (category, (terms, companies)) in &other.0 {
            self.terms(*category, *terms);
            self.companies(*category, *companies);
        }
    }

    /// Adds what the whole write changes; called behind the head alone. Most writes change no count.
    pub(super) async fn store(mut self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.0.retain(|_, more| *more != (0, 0));
        if self.0.is_empty() {
            return Ok(());
        }
        let categories: Vec<Uuid> = self.0.keys().copied().collect();
        let (terms, companies): (Vec<i64>, Vec<i64>) = self.0.into_values().unzip();
        // Not by `on conflict`: what takes away is no row that could be inserted, and is checked before the conflict.
        sqlx::query!(
            r#"
            with more as (
                select * from unnest($1::uuid[], $2::bigint[], $3::bigint[]) as m (category_id, terms, companies)
            ),
            there as (
                update category_counts n set terms = n.terms + more.terms, companies = n.companies + more.companies
                  from more where more.category_id = n.category_id
                returning n.category_id
            )
            insert into category_counts (category_id, terms, companies)
            select category_id, terms, companies from more where category_id not in (select category_id from there)
            "#,
            &categories,
            &terms,
            &companies
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// Forgets categories that are gone for good; behind the head as well.
pub(super) async fn forget(conn: &mut PgConnection, categories: &[Uuid]) -> Result<(), sqlx::Error> {
    if !categories.is_empty() {
        sqlx::query!("delete from category_counts where category_id = any($1)", categories).execute(conn).await?;
    }
    Ok(())
}
