//! The operations that the three kinds have in common. Each is a handler with its path, its method and its description,
//! as any other; they differ in nothing but names, so they are written once, and each kind's module names them.

/// Makes the handlers of one kind, their wire types, and `routes`, which takes each of the handlers.
macro_rules! operations {
    (
        $document:ident => $page:ident, $create:ident, $patch:ident, $revision:ident;
        $noun:literal, $example:tt, $tag:ident, $role:ident $needs:tt;
        $list:tt, $entity:tt, $whole:tt, $restore:tt;
        $revisions:tt, $version:tt, $diff:tt, $restore_version:tt;
        $new:tt, $change:tt;
    ) => {
        use actix_web::{
            delete, get, patch, post, put,
            web::{Data, Path},
        };
        use serde::Serialize;
        use serde_json::Value;
        use utoipa::{
            PartialSchema, ToSchema,
            openapi::{RefOr, schema::Schema},
        };
        use uuid::Uuid;

        use super::{$document, page::$page};
        use $crate::{
            clock::Timestamp,
            editorial::{
                edit::{self, Intent, MessageParam},
                history::{self, Revision, RevisionDiff, RevisionList},
            },
            error::Error,
            http::{
                answer::Answer,
                auth::{$role, Viewer},
                body::Body,
                idempotency::IdempotencyKey,
                lookup::Address,
                precondition::{IfMatch, IfNoneMatchAny},
                query::Query,
            },
            openapi::{self, CreateErrors, EditErrors, $tag, PutErrors, Routes, ViewErrors},
            state::State,
        };

        pub(super) fn routes(routes: &mut Routes<'_>) {
            routes
                .service(create)
                .service(update)
                .service(delete)
                .service(restore)
                .service(read_document)
                .service(replace_document)
                .service(list_revisions)
                .service(read_revision)
                .service(compare_revisions)
                .service(restore_revision);
        }

        /// The document as it is read. Its schema has the document's own name: that of a generic type says what for.
        pub struct Document;

        impl PartialSchema for Document {
            fn schema() -> RefOr<Schema> {
                $document::<String>::schema()
            }
        }

        impl ToSchema for Document {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($document).into()
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $document::<String>::schemas(schemas);
            }
        }

        /// The document as `POST` and `PUT` take it: what is absent takes its default.
        pub struct $create;

        impl PartialSchema for $create {
            fn schema() -> RefOr<Schema> {
                openapi::written(&$document::<String>::schema(), &openapi::required($document::parse))
            }
        }

        impl ToSchema for $create {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($create).into()
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                openapi::items::<$document<String>, _>($document::parse, schemas);
            }
        }

        /// What a merge patch may hold: what is absent stays as it is, null is the member's default.
        pub struct $patch;

        impl PartialSchema for $patch {
            fn schema() -> RefOr<Schema> {
                openapi::patched(&$document::<String>::schema(), &openapi::required($document::parse))
            }
        }

        impl ToSchema for $patch {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($patch).into()
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                openapi::items::<$document<String>, _>($document::parse, schemas);
            }
        }

        /// One version, with the document as it was: its references are the slugs of that day.
        #[derive(Debug, Serialize, ToSchema)]
        pub struct $revision {
            #[schema(minimum = 1, example = 2)]
            pub version: i64,
            /// `created`, `updated`, `deleted` or `restored`; more may come.
            #[schema(example = "updated")]
            pub what: String,
            /// The name of the token that wrote it.
            #[schema(example = "ada")]
            pub author: String,
            /// Why, in the author's words.
            #[schema(required)]
            pub message: Option<String>,
            #[schema(value_type = String, format = DateTime)]
            pub at: Timestamp,
            #[schema(value_type = Document)]
            pub document: Value,
        }

        #[utoipa::path(
            operation_id = concat!("create_", $noun),
            tag = $tag,
            summary = concat!("Create a ", $noun),
            description = concat!(
                "Makes a ", $noun, " from its whole document; the answer is its page. Where the document has no slug, one is made \
                 from the name, and numbered if that is taken. All mistakes are told at once. A retry with the same \
                 `Idempotency-Key` creates nothing: it gets the page as it is by then."
            ),
            params(MessageParam, IdempotencyKey),
            request_body(
                content = $create, description = "The document.", content_type = "application/json", example = json!($new)
            ),
            responses(
                (status = 201, description = "It was created; the page.", body = $page, headers(
                    ("Location" = String, description = "Its address."),
                )),
                CreateErrors
            ),
            security(("bearer" = [$needs]))
        )]
        #[post($list)]
        pub async fn create(
            state: Data<State>,
            $role(author): $role,
            query: Query,
            key: IdempotencyKey,
            body: Body,
        ) -> Result<Answer, Error> {
            let intent = Intent::read(&state, author, query, IfMatch::Absent).await?;
            edit::create::<$document<Uuid>>(&state, &intent, &key, &body).await
        }

        #[utoipa::path(
            operation_id = concat!("update_", $noun),
            tag = $tag,
            summary = concat!("Update a ", $noun),
            description = "A JSON merge patch (RFC 7396) on the document: members that are absent stay as they are, null is the \
                           member's default, a list replaces the whole list. It is merged on what is there under a lock, then \
                           validated as a whole. The answer is the page. What changes nothing makes no version.",
            params(
                ("slug" = String, Path, description = "The slug.", example = $example, max_length = 100),
                MessageParam,
                IfMatch
            ),
            // One type: to some generators a second one is a second method, or none at all.
            request_body(
                content = $patch,
                description = "The members that change; `application/merge-patch+json` is taken as well.",
                content_type = "application/json",
                example = json!($change)
            ),
            responses((status = 200, description = "The page.", body = $page), EditErrors),
            security(("bearer" = [$needs]))
        )]
        #[patch($entity)]
        pub async fn update(
            state: Data<State>,
            $role(author): $role,
            address: Address,
            query: Query,
            if_match: IfMatch,
            body: Body,
        ) -> Result<Answer, Error> {
            let intent = Intent::read(&state, author, query, if_match).await?;
            edit::patch::<$document<Uuid>>(&state, &address, &intent, &body.value).await
        }

        #[utoipa::path(
            operation_id = concat!("delete_", $noun),
            tag = $tag,
            summary = concat!("Delete a ", $noun),
            description = concat!(
                "Puts the ", $noun, " into the trash: if it was public, its address answers `410` from now on. Its slug stays \
                 taken, its name is free, and its links are kept, unseen: `POST …/restore` brings all of it back."
            ),
            params(
                ("slug" = String, Path, description = "The slug.", example = $example, max_length = 100),
                MessageParam,
                IfMatch
            ),
            responses((status = 204, description = "It is in the trash."), EditErrors),
            security(("bearer" = [$needs]))
        )]
        #[delete($entity)]
        pub async fn delete(
            state: Data<State>,
            $role(author): $role,
            address: Address,
            query: Query,
            if_match: IfMatch,
        ) -> Result<Answer, Error> {
            let intent = Intent::read(&state, author, query, if_match).await?;
            edit::delete::<$document<Uuid>>(&state, &address, &intent).await
        }

        #[utoipa::path(
            operation_id = concat!("restore_", $noun),
            tag = $tag,
            summary = concat!("Restore a ", $noun),
            description = concat!(
                "Takes the ", $noun, " out of the trash, with all of its links; the answer is its page. What is not in the trash \
                 stays as it is. If its name was taken meanwhile, `409` says by whom."
            ),
            params(
                ("slug" = String, Path, description = "The slug.", example = $example, max_length = 100),
                MessageParam,
                IfMatch
            ),
            responses((status = 200, description = "The page.", body = $page), EditErrors),
            security(("bearer" = [$needs]))
        )]
        #[post($restore)]
        pub async fn restore(
            state: Data<State>,
            $role(author): $role,
            address: Address,
            query: Query,
            if_match: IfMatch,
        ) -> Result<Answer, Error> {
            let intent = Intent::read(&state, author, query, if_match).await?;
            edit::restore::<$document<Uuid>>(&state, &address, &intent).await
        }

        #[utoipa::path(
            operation_id = concat!("read_", $noun, "_document"),
            tag = $tag,
            summary = concat!("Read a ", $noun, "'s document"),
            description = "The document as editors write it, with all of its own links, those to drafts and to what is in the \
                           trash too. Sent back unchanged it changes nothing.",
            params(("slug" = String, Path, description = "The slug, a former one, or the id.", example = $example, max_length = 100)),
            responses((status = 200, description = "The document.", body = Document), ViewErrors),
            security(("bearer" = ["viewer"]))
        )]
        #[get($whole)]
        pub async fn read_document(
            state: Data<State>,
            _: Viewer,
            address: Address,
            query: Query,
        ) -> Result<Answer, Error> {
            query.finish()?;
            history::document::<$document<Uuid>>(&state, &address).await
        }

        #[utoipa::path(
            operation_id = concat!("replace_", $noun, "_document"),
            tag = $tag,
            summary = concat!("Replace or create a ", $noun, "'s document"),
            description = concat!(
                "Puts the whole document there: an absent member takes the default that `POST` gives it; another slug inside is a \
                 rename. Where there is no such ", $noun, ", one is created (`201`); `If-None-Match: *` does only that."
            ),
            params(
                ("slug" = String, Path, description = "The slug.", example = $example, max_length = 100),
                MessageParam,
                IfMatch,
                IfNoneMatchAny
            ),
            request_body(content = $create, description = "The document.", content_type = "application/json"),
            responses(
                (status = 200, description = "The page.", body = $page),
                (status = 201, description = "It was created; the page.", body = $page, headers(
                    ("Location" = String, description = "Its address."),
                )),
                PutErrors
            ),
            security(("bearer" = [$needs]))
        )]
        #[put($whole)]
        pub async fn replace_document(
            state: Data<State>,
            $role(author): $role,
            address: Address,
            query: Query,
            if_match: IfMatch,
            only_new: IfNoneMatchAny,
            body: Body,
        ) -> Result<Answer, Error> {
            let intent = Intent::read(&state, author, query, if_match).await?;
            edit::put::<$document<Uuid>>(&state, &address, &intent, only_new, &body.value).await
        }

        #[utoipa::path(
            operation_id = concat!("list_", $noun, "_revisions"),
            tag = $tag,
            summary = concat!("List a ", $noun, "'s revisions"),
            description = "Who wrote it when, and why: the newest first. Of what is in the trash as well.",
            params(
                ("slug" = String, Path, description = "The slug, a former one, or the id.", example = $example, max_length = 100),
                ("limit" = Option<i32>, Query, description = "How many items a page has; 20 where it is absent.", minimum = 1, maximum = 100),
                ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.", max_length = 4096),
            ),
            responses(
                (status = 200, description = "One page of revisions; the `Link` header has the address of the next one.", body = RevisionList, headers(
                    ("Link" = String, description = "The address of the next page, `rel=\"next\"`; absent on the last one."),
                )),
                ViewErrors
            ),
            security(("bearer" = ["viewer"]))
        )]
        #[get($revisions)]
        pub async fn list_revisions(
            state: Data<State>,
            _: Viewer,
            address: Address,
            query: Query,
        ) -> Result<Answer, Error> {
            history::list::<$document<Uuid>>(&state, &address, query).await
        }

        #[utoipa::path(
            operation_id = concat!("read_", $noun, "_revision"),
            tag = $tag,
            summary = concat!("Read a revision of a ", $noun),
            description = "The document as it was. Its entity tag, sent as `If-Match`, stands for this version.",
            params(
                ("slug" = String, Path, description = "The slug, a former one, or the id.", example = $example, max_length = 100),
                ("version" = i64, Path, description = "The number of the version.", example = 1, minimum = 1),
            ),
            responses((status = 200, description = "The version.", body = $revision), ViewErrors),
            security(("bearer" = ["viewer"]))
        )]
        #[get($version)]
        pub async fn read_revision(
            state: Data<State>,
            _: Viewer,
            address: Address,
            path: Path<(String, String)>,
            query: Query,
        ) -> Result<Answer, Error> {
            query.finish()?;
            history::read::<$document<Uuid>, _>(&state, &address, &path.1, |revision, document| {
                let Revision { version, what, author, message, at } = revision;
                $revision { version, what, author, message, at, document }
            })
            .await
        }

        #[utoipa::path(
            operation_id = concat!("compare_", $noun, "_revisions"),
            tag = $tag,
            summary = concat!("Compare two revisions of a ", $noun),
            description = "What differs, member by member, item by item, and word for word within texts. A neighbour's new slug is \
                           no difference.",
            params(
                ("slug" = String, Path, description = "The slug, a former one, or the id.", example = $example, max_length = 100),
                ("version" = i64, Path, description = "The number of the version to begin with.", example = 1, minimum = 1),
                ("other" = i64, Path, description = "The number of the version to compare it with.", example = 2, minimum = 1),
            ),
            responses((status = 200, description = "The differences.", body = RevisionDiff), ViewErrors),
            security(("bearer" = ["viewer"]))
        )]
        #[get($diff)]
        pub async fn compare_revisions(
            state: Data<State>,
            _: Viewer,
            address: Address,
            path: Path<(String, String, String)>,
            query: Query,
        ) -> Result<Answer, Error> {
            query.finish()?;
            history::compare::<$document<Uuid>>(&state, &address, &path.1, &path.2).await
        }

        #[utoipa::path(
            operation_id = concat!("restore_", $noun, "_revision"),
            tag = $tag,
            summary = concat!("Restore a revision of a ", $noun),
            description = "Writes the whole document of an old version again, its slug included, as a new one; the answer is the \
                           page. What is public stays so: the status of an old draft is not taken. Where the old document breaks a \
                           rule by now (its name is taken, something that it names is purged), `errors` says so: read the \
                           version, correct it, and `PUT` it as the document.",
            params(
                ("slug" = String, Path, description = "The slug.", example = $example, max_length = 100),
                ("version" = i64, Path, description = "The number of the version.", example = 1, minimum = 1),
                MessageParam,
                IfMatch
            ),
            responses((status = 200, description = "The page.", body = $page), EditErrors),
            security(("bearer" = [$needs]))
        )]
        #[post($restore_version)]
        pub async fn restore_revision(
            state: Data<State>,
            $role(author): $role,
            address: Address,
            path: Path<(String, String)>,
            query: Query,
            if_match: IfMatch,
        ) -> Result<Answer, Error> {
            let intent = Intent::read(&state, author, query, if_match).await?;
            history::restore::<$document<Uuid>>(&state, &address, &path.1, &intent).await
        }
    };
}

/// What `PUT` of a link does, for the description.
pub(crate) const LINK_ADDED: &str = "The answer is the page. A link that is there already changes nothing. One to something \
                                     that is not public waits, unseen, until both ends are.";
/// What `DELETE` of a link does.
pub(crate) const LINK_REMOVED: &str = "The answer is the page. A link that is not there changes nothing.";

/// Makes the handler that adds one link to a member, or removes one: `$edit` does it.
macro_rules! link_operation {
    (
        $method:ident $handler:ident $id:tt: $summary:tt, $description:expr;
        $document:ident => $page:ident, $tag:ident, $example:tt;
        $path:tt, $member:tt, $other:expr, $other_example:tt, $edit:path;
    ) => {
        #[utoipa::path(
            operation_id = $id,
            tag = $tag,
            summary = $summary,
            description = $description,
            params(
                ("slug" = String, Path, description = "The slug.", example = $example, max_length = 100),
                ("other" = String, Path, description = "The other end: a slug of the day, a former one, or an id.", example = $other_example, max_length = 100),
                MessageParam,
                IfMatch
            ),
            responses((status = 200, description = "The page.", body = $page), EditErrors),
            security(("bearer" = ["contributor"]))
        )]
        #[$method($path)]
        pub async fn $handler(
            state: Data<State>,
            Contributor(author): Contributor,
            address: Address,
            path: Path<(String, String)>,
            query: Query,
            if_match: IfMatch,
        ) -> Result<Answer, Error> {
            let intent = Intent::read(&state, author, query, if_match).await?;
            let other = lookup::other_end(&state, $other, &path.1).await?;
            $edit(&state, &address, &intent, $member, other).await
        }
    };
}

pub(crate) use link_operation;
pub(crate) use operations;
