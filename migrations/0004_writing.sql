-- Writing over HTTP: what the history says of deletions, categories that live as long as something stands in them, the
-- trash, drafts in lists, and retries that are recognised.

-- What a version did. A deletion and a restoration are versions too: a tag of before one of them matches nothing after it.
alter table revisions add column what text not null default 'updated'
    check (what in ('created', 'updated', 'deleted', 'restored'));
alter table revisions disable trigger user;
update revisions set what = 'created' where version = 1;
alter table revisions enable trigger user;
alter table revisions alter column what drop default;

-- A category with terms (deleted ones included: they come back to it) or live children can't be deleted. As a foreign
-- key it holds against a term that comes in at the same moment: it locks the category before it looks.
alter table categories
    add column is_live boolean not null generated always as (deleted_at is null) stored,
    add constraint categories_live unique (id, is_live);
alter table categories
    add column parent_is_live boolean generated always as (case when deleted_at is null and parent_id is not null then true end) stored,
    -- Deferred, as the parent itself is: a large write stores its rows in parts.
    add constraint categories_parent_live foreign key (parent_id, parent_is_live) references categories (id, is_live)
        deferrable initially deferred;
alter table terms
    add column category_is_live boolean not null generated always as (true) stored,
    add constraint terms_category_live foreign key (category_id, category_is_live) references categories (id, is_live),
    drop constraint terms_category_id_fkey;

-- The trash, the last deleted first.
create index terms_trash on terms (deleted_at, id) where deleted_at is not null;
create index categories_trash on categories (deleted_at, id) where deleted_at is not null;
create index companies_trash on companies (deleted_at, id) where deleted_at is not null;

-- Lists by another status than published, which has its own indexes.
create index terms_by_status on terms (status, name_key, id) where status <> 'published' and deleted_at is null;
create index companies_by_status on companies (status, name_key, id) where status <> 'published' and deleted_at is null;

-- Cards of drafts too, for those who may see them; what everyone sees is cut from it.
create view live_term_cards as
select t.id, t.slug, t.name_key, t.category_id, t.status,
       json_build_object(
           'id', t.id, 'slug', t.slug, 'name', t.name,
           'acronyms', array(select a.name from term_aliases a where a.term_id = t.id and a.kind = 'acronym' order by a.position),
           'definition', t.definition,
           'category', json_build_object('id', c.id, 'slug', c.slug, 'name', c.name),
           'status', t.status
       ) as card
  from terms t join categories c on c.id = t.category_id
 where t.deleted_at is null;

create or replace view term_cards as
select id, slug, name_key, category_id, status, card from live_term_cards where status <> 'draft';

create view live_company_cards as
select k.id, k.slug, k.name_key,
       json_build_object(
           'id', k.id, 'slug', k.slug, 'name', k.name, 'description', k.description, 'website', k.website,
           'country', k.country, 'status', k.status
       ) as card,
       k.status, k.is_public
  from companies k
 where k.deleted_at is null;

create or replace view company_cards as
select id, slug, name_key, card from live_company_cards where is_public;

-- A POST with an Idempotency-Key: a row of the transaction that makes what the key protects. A second request with the key
-- waits on it, and finds the entity; one that fails leaves nothing.
create table idempotency_keys (
    token   uuid        not null references api_tokens on delete cascade,
    -- Method and path.
    request text        not null,
    key     text        not null check (char_length(key) between 1 and 200),
    -- Of the body and the message: the key of another request is refused.
    sha256  bytea       not null check (octet_length(sha256) = 32),
    -- Known once it is made, in the same transaction.
    entity  uuid,
    at      timestamptz not null,
    constraint idempotency_keys_key primary key (token, request, key)
);
-- A key is kept for a day.
create index idempotency_keys_at on idempotency_keys (at);
