-- The change log comes first: everything that is ever shown is reported here, in the transaction that changes it.

-- Trigrams find the closest slug for a 404; later the search for names that are spelt nearly right.
create extension if not exists pg_trgm;

-- One row. A writer takes its positions from it as the last thing before it commits, and holds the row until then:
-- so positions have no gaps and stand in the order of the commits. Readers never touch it.
create table log_head (
    only_row boolean primary key default true check (only_row),
    log_id   uuid    not null default gen_random_uuid(),
    position bigint  not null default 0 check (position >= 0)
);
insert into log_head default values;

-- Each version of each entity, as its document was. Written with every write, never updated.
create table revisions (
    id       uuid        primary key,
    kind     text        not null check (kind in ('term', 'category', 'company')),
    entity   uuid        not null,
    version  bigint      not null check (version >= 1),
    document jsonb       not null,
    author   text        not null check (author <> ''),
    message  text,
    at       timestamptz not null,
    constraint revisions_entity_version unique (entity, version),
    -- What an entity's row points at: its newest revision, of its own version.
    constraint revisions_of_entity unique (id, entity, version)
);

-- What happened, in the order of the commits. `keys` are what the change touches: an answer made from one of them
-- at an earlier position is stale.
create table changes (
    position      bigint      primary key check (position >= 1),
    id            uuid        not null unique,
    kind          text        check (kind in ('term', 'category', 'company')),
    entity        uuid,
    what          text        not null check (what in ('created', 'updated', 'deleted', 'restored', 'purged', 'reset')),
    slug          text,
    former_slug   text,
    public_before boolean     not null,
    public_after  boolean     not null,
    keys          text[]      not null,
    at            timestamptz not null,
    -- A reset speaks of everything, any other change of one entity.
    check ((what = 'reset') = (kind is null and entity is null and slug is null))
);

-- Logged tables are written by termbase's one write alone: it marks its transaction, and this refuses all others,
-- psql included, because a row changed behind the log's back would leave stale answers for ever.
create function refuse_unlogged_write() returns trigger language plpgsql as $$
begin
    if current_setting('termbase.write', true) is distinct from pg_current_xact_id()::text then
        raise exception 'table "%" is written only through termbase', tg_table_name
            using errcode = 'insufficient_privilege',
                  hint = 'Use the API, or termbase''s commands: a write past the change log would leave stale answers.';
    end if;
    return null;
end $$;

create function refuse_update() returns trigger language plpgsql as $$
begin
    raise exception 'a row of "%" is never updated', tg_table_name
        using errcode = 'insufficient_privilege', hint = 'Write a new version instead.';
end $$;

create trigger guard before insert or update or delete or truncate on log_head
    for each statement execute function refuse_unlogged_write();
create trigger guard before insert or update or delete or truncate on revisions
    for each statement execute function refuse_unlogged_write();
create trigger guard before insert or update or delete or truncate on changes
    for each statement execute function refuse_unlogged_write();
create trigger immutable before update on revisions
    for each row execute function refuse_update();
create trigger immutable before update on changes
    for each row execute function refuse_update();
