//! `/me`, for whoever has a token; `/tokens`, for administrators.

use actix_web::{
    HttpResponse, HttpResponseBuilder, delete, get,
    http::{StatusCode, header},
    post,
    web::{Data, Path},
};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Role, Token, TokenCreate};
use crate::{
    clock::Timestamp,
    error::Error,
    http::{
        auth::{Admin, Viewer},
        body::Body,
        paging::{After, Page},
        query::Query,
    },
    openapi::{MeErrors, TAG_TOKENS, TokenCreateErrors, TokenErrors, TokenListErrors, TokenRevokeErrors},
    postgres,
    state::State,
};

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// The token's.
    pub id: Uuid,
    #[schema(example = "Ada's editor")]
    pub name: String,
    pub role: Role,
    /// From then on the token opens nothing; `null` where it has no end.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// One page of tokens, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenList {
    #[schema(max_items = 100)]
    pub items: Vec<Token>,
    /// The cursor of the next page; `null` on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// How many tokens there are, revoked and expired ones included.
    #[schema(minimum = 0, example = 1)]
    pub total: i64,
}

/// A token that was just made. It has no `Debug`: nothing may print its secret.
#[derive(Serialize, ToSchema)]
pub struct TokenCreated {
    pub id: Uuid,
    #[schema(example = "Ada's editor")]
    pub name: String,
    pub role: Role,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// From then on it opens nothing; `null` where it has no end.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Always `null`: it was just made.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// Always `null`: it was just made.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// What `Authorization: Bearer` takes. It is shown here alone, and stored nowhere: keep it.
    #[schema(example = "tb_…")]
    pub secret: String,
}

/// Read about oneself
///
/// The token that the request is sent with: its name, its role, and until when it is valid.
#[utoipa::path(
    operation_id = "read_me",
    tag = TAG_TOKENS,
    responses((status = 200, description = "The token of the request.", body = Me), MeErrors),
    security(("bearer" = ["viewer"]))
)]
#[get("/me")]
pub async fn read_me(state: Data<State>, query: Query, Viewer(author): Viewer) -> Result<HttpResponse, Error> {
    query.finish()?;
    let id = author.token.ok_or(Error::TokenRequired)?;
    let Token { id, name, role, expires_at, created_at: _, last_used_at: _, revoked_at: _ } =
        super::read(&state, id).await?;
    Ok(private(StatusCode::OK).json(Me { id, name, role, expires_at }))
}

/// List tokens
///
/// All tokens, revoked and expired ones too, the newest first. None shows its secret.
#[utoipa::path(
    operation_id = "list_tokens",
    tag = TAG_TOKENS,
    params(
        ("limit" = Option<i32>, Query, description = "How many items a page has; 20 where it is absent.", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.", max_length = 4096),
    ),
    responses(
        (status = 200, description = "One page of tokens; the `Link` header has the address of the next one.", body = TokenList, headers(("Link" = String, description = "The address of the next page, `rel=\"next\"`; absent on the last one."))),
        TokenListErrors
    ),
    security(("bearer" = ["admin"]))
)]
#[get("/tokens")]
pub async fn list_tokens(state: Data<State>, mut query: Query, _: Admin) -> Result<HttpResponse, Error> {
    let page = Page::take(&mut query, "/tokens", &[]);
    query.finish()?;
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let mut items = super::list(&mut *snapshot, page.after.as_ref(), Some(page.limit + 1)).await?;
    let total = sqlx::query_scalar!(r#"select count(*) as "total!" from api_tokens"#).fetch_one(&mut *snapshot).await?;
    let next_cursor = page.cut(&mut items, |token| After { key: token.created_at, id: token.id });
    let mut response = private(StatusCode::OK);
    if let Some(cursor) = &next_cursor {
        response.insert_header((header::LINK, format!("<{}>; rel=\"next\"", page.address(cursor))));
    }
    Ok(response.json(TokenList { items, next_cursor, total }))
}

/// Make a token
///
/// The answer has the token's secret, which is shown this once and stored nowhere.
#[utoipa::path(
    operation_id = "create_token",
    tag = TAG_TOKENS,
    request_body(
        content = TokenCreate,
        description = "What the token is to be.",
        example = json!({"name": "Ada's editor", "role": "editor", "expires_at": "2036-01-31T00:00:00Z"})
    ),
    responses(
        (status = 201, description = "The token, with its secret.", body = TokenCreated, headers(("Location" = String, description = "The token's address."))),
        TokenCreateErrors
    ),
    security(("bearer" = ["admin"]))
)]
#[post("/tokens")]
pub async fn create_token(state: Data<State>, query: Query, _: Admin, body: Body) -> Result<HttpResponse, Error> {
    query.finish()?;
    let wanted = TokenCreate::parse(&body.value, state.clock.now())
        .map_err(|faults| Error::Refused { faults, conflicts: Vec::new() })?;
    let (token, secret) = super::create(&state, wanted).await?;
    let Token { id, name, role, created_at, expires_at, last_used_at, revoked_at } = token;
    let secret = secret.expose_secret().to_owned();
    let created = TokenCreated { id, name, role, created_at, expires_at, last_used_at, revoked_at, secret };
    Ok(private(StatusCode::CREATED).insert_header((header::LOCATION, format!("/tokens/{id}"))).json(created))
}

/// Read a token
///
/// All but its secret.
#[utoipa::path(
    operation_id = "read_token",
    tag = TAG_TOKENS,
    params(("id" = Uuid, Path, description = "The token's id.", example = "01a20c78-4513-7096-a7ca-781f7eec597d")),
    responses((status = 200, description = "The token.", body = Token), TokenErrors),
    security(("bearer" = ["admin"]))
)]
#[get("/tokens/{id}")]
pub async fn read_token(state: Data<State>, path: Path<String>, query: Query, _: Admin) -> Result<HttpResponse, Error> {
    query.finish()?;
    Ok(private(StatusCode::OK).json(super::read(&state, id(&path)?).await?))
}

/// Revoke a token
///
/// From the answer on it opens nothing. It stays in the list; revoking it again changes nothing. The last valid token
/// of an administrator can't be revoked.
#[utoipa::path(
    operation_id = "revoke_token",
    tag = TAG_TOKENS,
    params(("id" = Uuid, Path, description = "The token's id.", example = "01a20c78-4513-7096-a7ca-781f7eec597d")),
    responses((status = 204, description = "It is revoked, now or since long."), TokenRevokeErrors),
    security(("bearer" = ["admin"]))
)]
#[delete("/tokens/{id}")]
pub async fn revoke_token(
    state: Data<State>,
    path: Path<String>,
    query: Query,
    _: Admin,
) -> Result<HttpResponse, Error> {
    query.finish()?;
    super::revoke(&state, id(&path)?).await?;
    Ok(private(StatusCode::NO_CONTENT).finish())
}

/// What is no id names no token.
fn id(path: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(path).map_err(|_not_an_id| Error::NoToken)
}

/// No cache may keep what only one caller may see.
fn private(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CACHE_CONTROL, "private, no-store"));
    response
}
