//! What the database itself holds, whoever writes.

use serde_json::json;
use sqlx::{Connection, PgConnection, Postgres, Transaction};

use crate::support::{TestApp, category, term};

/// A transaction marked as termbase's own write is.
async fn marked(connection: &mut PgConnection) -> Transaction<'_, Postgres> {
    let mut transaction = connection.begin().await.unwrap();
    sqlx::query("select set_config('termbase.write', pg_current_xact_id()::text, true)")
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction
}

fn constraint(error: &sqlx::Error) -> String {
    let database = error.as_database_error().unwrap_or_else(|| panic!("{error}"));
    database.constraint().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_write_past_termbase_is_refused_with_a_hint() {
    let app = TestApp::with_samples().await;
    let mut psql = app.database.connect().await;
    for table in [
        "terms",
        "term_aliases",
        "term_relations",
        "term_sources",
        "term_companies",
        "categories",
        "companies",
        "company_categories",
        "category_counts",
        "slug_history",
        "revisions",
        "changes",
        "log_head",
    ] {
        for statement in [
            format!("delete from {table}"),
            format!("truncate {table} cascade"),
            format!("insert into {table} default values"),
        ] {
            let error = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone())).execute(&mut psql).await.unwrap_err();
            assert!(error.to_string().contains("only through termbase"), "{statement}: {error}");
        }
    }
    // A mark of another transaction does not help.
    let error = sqlx::raw_sql("begin; select set_config('termbase.write', '1', true); update terms set name = 'x'")
        .execute(&mut psql)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("only through termbase"), "{error}");
}

#[tokio::test]
async fn a_revision_is_never_updated() {
    let app = TestApp::with_samples().await;
    let mut psql = app.database.connect().await;
    for statement in ["update revisions set author = 'x'", "update changes set slug = 'x'"] {
        let mut transaction = marked(&mut psql).await;
        let error = sqlx::query(statement).execute(&mut *transaction).await.unwrap_err();
        assert!(error.to_string().contains("never updated"), "{error}");
    }
}

/// Each closes the loop that the other began; neither sees the other's row. Without the lock both would commit.
#[tokio::test]
async fn two_who_close_a_cycle_from_both_ends_do_not_both_commit() {
    let app = TestApp::empty().await;
    let document = |slug: &str| json!({"name": slug, "definition": "D.", "category": "c", "status": "published"});
    let edits = vec![
        category(&json!({"name": "C"})),
        category(&json!({"name": "D"})),
        term(&document("a")),
        term(&document("b")),
    ];
    let ids: Vec<_> = app.write(edits).await.unwrap().into_iter().map(|applied| applied.id).collect();
    let (categories, terms) = ((ids[0], ids[1]), (ids[2], ids[3]));
    for (statement, ends, name) in [
        (
            "insert into term_relations (owner, kind, other) values ($1, 'broader', $2)",
            terms,
            "term_relations_no_cycle",
        ),
        (
            "insert into term_relations (owner, kind, other, position) values ($1, 'replaced_by', $2, 0)",
            terms,
            "term_relations_no_cycle",
        ),
        ("update categories set parent_id = $2 where id = $1", categories, "categories_no_cycle"),
    ] {
        let (mut one, mut two) = (app.database.connect().await, app.database.connect().await);
        let (mut first, mut second) = (marked(&mut one).await, marked(&mut two).await);
        sqlx::query(statement).bind(ends.0).bind(ends.1).execute(&mut *first).await.unwrap();
        let close = async {
            let result = sqlx::query(statement).bind(ends.1).bind(ends.0).execute(&mut *second).await;
            (result, second)
        };
        let commit = async {
            // The second waits for the first's lock before it looks: seen in the server, not by the clock.
            let waits = "select exists(select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database()))";
            while !sqlx::query_scalar::<_, bool>(waits).fetch_one(app.pool()).await.unwrap() {
                tokio::task::yield_now().await;
            }
            first.commit().await.unwrap();
        };
        let ((result, second), ()) = tokio::join!(close, commit);
        assert_eq!(constraint(&result.unwrap_err()), name, "{statement}");
        drop(second);
    }
}

#[tokio::test]
async fn the_database_holds_the_rules_itself() {
    let app = TestApp::with_samples().await;
    let mut psql = app.database.connect().await;
    let cases = [
        ("insert into slug_history values ('term', 'No-Slug', gen_random_uuid(), true)", "slug_history_slug_form"),
        (
            "insert into slug_history values ('term', '01a20c78-4513-7096-a7ca-781f7eec597d', gen_random_uuid(), true)",
            "slug_history_slug_form",
        ),
        ("insert into slug_history values ('term', 'transformer', gen_random_uuid(), true)", "slug_history_slug"),
        ("update terms set slug = 'never-claimed' where slug = 'transformer'", "terms_slug_taken"),
        ("update terms set version = version + 1 where slug = 'transformer'", "terms_revision"),
        ("update terms set status = 'draft' where slug = 'transformer'", "terms_check"),
        ("update terms set name_key = 'foundation model' where slug = 'transformer'", "terms_name"),
        ("update categories set name_key = 'training' where slug = 'core-concepts'", "categories_name"),
        ("update terms set category_id = gen_random_uuid() where slug = 'transformer'", "terms_category_live"),
        ("update categories set deleted_at = now() where slug = 'training'", "terms_category_live"),
        ("update companies set country = 'usa' where slug = 'openai'", "companies_country_check"),
        ("update term_relations set other = owner where kind = 'broader'", "term_relations_not_itself"),
        ("update categories set parent_id = id", "categories_no_cycle"),
        ("insert into term_aliases select term_id, 99, name, name_key, kind from term_aliases", "term_aliases_name"),
        ("delete from terms where slug = 'transformer'", ""),
    ];
    for (statement, name) in cases {
        let mut transaction = marked(&mut psql).await;
        let error = sqlx::query(statement).execute(&mut *transaction).await.unwrap_err();
        let found = constraint(&error);
        assert!(if name.is_empty() { !found.is_empty() } else { found == name }, "{statement}: {error} ({found})");
    }
}

#[tokio::test]
async fn sorting_and_uniqueness_do_not_depend_on_the_servers_locale() {
    let app = TestApp::empty().await;
    let names = ["Éclair", "eclipse", "Zebra", "apple", "C++", "C", "C#", ".NET", "2D", "ß-carotene", "Ångström"];
    let mut edits = vec![category(&json!({"name": "C"}))];
    edits.extend(
        names
            .iter()
            .map(|name| term(&json!({"name": name, "definition": "D.", "category": "c", "status": "published"}))),
    );
    app.write(edits).await.unwrap();
    let listed: Vec<String> = app.get("/terms").await.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        listed,
        [".NET", "2D", "Ångström", "apple", "C", "C#", "C++", "Éclair", "eclipse", "ß-carotene", "Zebra"]
    );
}
