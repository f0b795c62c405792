-- Import: files of any size, in one write.

-- What an import brings waits in a temporary table until all of it is there: so references may lead forward, and memory
-- does not grow with the file. This is the pattern that it is made from, so that its statements are checked when termbase
-- is built; nothing can stand in it.
create table incoming (
    kind        text    not null,
    -- In the order in which it came.
    seq         bigint  not null,
    -- Where it stands: of several files the how-manieth, and the line.
    file        integer not null,
    line        bigint  not null,
    -- The entity that it is, or will be.
    entity      uuid    not null,
    -- Whether the record itself says so.
    identified  boolean not null,
    existing    boolean not null default false,
    slug        text    collate "C",
    name_key    text    collate "C",
    -- Whether its document is one that is, or was, public.
    public      boolean not null,
    -- Whether it will be in the trash; unknown where the record does not say, until what is there was looked at.
    deleted     boolean,
    document    text    not null,
    -- What an export says beside the document.
    record      jsonb,
    -- The revision of its version, where the file has that too.
    revision_id uuid,
    primary key (kind, seq),
    constraint incoming_is_a_pattern check (false) no inherit
);
create index incoming_entity on incoming (entity);

create table incoming_revisions (
    seq      bigint      not null primary key,
    file     integer     not null,
    line     bigint      not null,
    id       uuid        not null,
    kind     text        not null,
    entity   uuid        not null,
    version  bigint      not null,
    what     text        not null,
    document jsonb       not null,
    author   text        not null,
    message  text,
    at       timestamptz not null,
    constraint incoming_revisions_is_a_pattern check (false) no inherit
);

-- Changes that wait for their positions; `ends`, `lists` and `flips` are what is to be looked up behind the head.
create table incoming_changes (
    seq           bigint  not null generated always as identity primary key,
    kind          text    not null,
    entity        uuid    not null,
    what          text    not null,
    slug          text    not null,
    former_slug   text,
    public_before boolean not null,
    public_after  boolean not null,
    keys          text    not null,
    end_kinds     text    not null,
    ends          text    not null,
    lists         text    not null,
    flips         boolean not null,
    constraint incoming_changes_is_a_pattern check (false) no inherit
);

-- A large write stores its rows in parts, and a relation may lead to a term of a later one.
alter table term_relations alter constraint term_relations_other_fkey deferrable initially deferred;

-- A walk goes from row to row. Where a large write adds many rows at once, Postgres would rather read the whole table for
-- each step, and again for each part of the write.
alter function refuse_relation_cycle() set enable_hashjoin = off;
alter function refuse_relation_cycle() set enable_mergejoin = off;

-- The closest slugs have an index that serves nothing else: trigrams can answer `slug = any (…)` too, which Postgres took for
-- cheap with some thousand slugs, and which read long lists for each.
drop index slug_history_closest;
create index slug_history_closest on slug_history using gin ((slug || '') gin_trgm_ops);
