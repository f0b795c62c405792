-- The directory: categories, terms, companies, and the links between them. Links hold ids, so that a rename loses none.

-- Every slug that an entity ever had, the one of the day included: a slug belongs to one entity of its kind for good.
-- `public` says whether the entity was public under it: only those lead the anonymous on.
create table slug_history (
    kind   text    not null check (kind in ('term', 'category', 'company')),
    slug   text    not null collate "C"
           constraint slug_history_slug_form check (
               slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(slug) <= 100
               and slug !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' and slug !~ '^[0-9a-f]{32}$'
           ),
    entity uuid    not null,
    public boolean not null,
    constraint slug_history_slug primary key (kind, slug),
    constraint slug_history_of_entity unique (kind, slug, entity)
);
create index slug_history_entity on slug_history (entity);
-- The closest slugs for a 404.
create index slug_history_closest on slug_history using gin (slug gin_trgm_ops);

create table categories (
    id          uuid        primary key,
    kind        text        not null generated always as ('category') stored,
    slug        text        not null collate "C" constraint categories_slug unique,
    name        text        not null check (char_length(name) between 1 and 200),
    name_key    text        not null collate "C" check (name_key <> ''),
    description text        not null check (char_length(description) <= 1000),
    -- Deferred: a large write stores its rows in parts, and a parent may come in a later one.
    parent_id   uuid        references categories deferrable initially deferred,
    rank        integer     not null check (rank between 0 and 1000000),
    version     bigint      not null check (version >= 1),
    revision_id uuid        not null,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    deleted_at  timestamptz,
    constraint categories_slug_taken foreign key (kind, slug, id) references slug_history (kind, slug, entity),
    constraint categories_revision foreign key (revision_id, id, version) references revisions (id, entity, version),
    constraint categories_no_cycle check (parent_id <> id)
);
create unique index categories_name on categories (name_key) where deleted_at is null;
create index categories_parent on categories (parent_id, rank, name_key);

create table terms (
    id            uuid        primary key,
    kind          text        not null generated always as ('term') stored,
    slug          text        not null collate "C" constraint terms_slug unique,
    name          text        not null check (char_length(name) between 1 and 200),
    name_key      text        not null collate "C" check (name_key <> ''),
    definition    text        not null check (char_length(definition) between 1 and 1000),
    body          text        not null check (octet_length(body) <= 65536),
    -- Made from `body` when it is written; the renderer's version tells a newer one which to make anew.
    body_html     text        not null,
    body_renderer smallint    not null,
    category_id   uuid        not null references categories,
    status        text        not null check (status in ('draft', 'published', 'deprecated')),
    -- When it first became public. It never goes back to draft, so 'was public' never becomes false.
    published_at  timestamptz,
    reviewed_on   date,
    version       bigint      not null check (version >= 1),
    revision_id   uuid        not null,
    created_at    timestamptz not null,
    updated_at    timestamptz not null,
    deleted_at    timestamptz,
    constraint terms_slug_taken foreign key (kind, slug, id) references slug_history (kind, slug, entity),
    constraint terms_revision foreign key (revision_id, id, version) references revisions (id, entity, version),
    check ((status = 'draft') = (published_at is null))
);
create unique index terms_name on terms (name_key) where deleted_at is null;
-- Lists show what is published: all of it by name, and a category's by name.
create index terms_by_name on terms (name_key, id) where status = 'published' and deleted_at is null;
create index terms_by_category on terms (category_id, name_key, id) where status = 'published' and deleted_at is null;
-- The foreign key's own look-ups, drafts and deleted ones included.
create index terms_category on terms (category_id);
-- What an older renderer has made: looked for at each start, and nearly always nothing.
create index terms_renderer on terms (body_renderer);

-- Order is the editor's. One name may be an alias of several terms.
create table term_aliases (
    term_id  uuid     not null references terms,
    position smallint not null check (position >= 0),
    name     text     not null check (char_length(name) between 1 and 200),
    name_key text     not null collate "C" check (name_key <> ''),
    kind     text     not null check (kind in ('synonym', 'acronym', 'spelling', 'deprecated', 'hidden')),
    primary key (term_id, position),
    constraint term_aliases_name unique (term_id, name_key)
);
create index term_aliases_name_key on term_aliases (name_key);

-- `related` is symmetric on the page, `broader` has the inverse `narrower` (never stored), `replaced_by` is ordered.
create table term_relations (
    owner    uuid     not null references terms,
    kind     text     not null check (kind in ('related', 'broader', 'replaced_by')),
    other    uuid     not null references terms,
    position smallint check (position >= 0),
    primary key (owner, kind, other),
    constraint term_relations_not_itself check (owner <> other),
    check ((kind = 'replaced_by') = (position is not null))
);
create index term_relations_other on term_relations (other, kind, owner);

create table term_sources (
    term_id      uuid     not null references terms,
    position     smallint not null check (position >= 0),
    title        text     not null check (char_length(title) between 1 and 300),
    url          text     not null check (octet_length(url) between 1 and 2000),
    publisher    text     check (char_length(publisher) between 1 and 200),
    published_on date,
    primary key (term_id, position),
    constraint term_sources_url unique (term_id, url)
);

create table companies (
    id           uuid        primary key,
    kind         text        not null generated always as ('company') stored,
    slug         text        not null collate "C" constraint companies_slug unique,
    -- Not unique: two companies may bear one name.
    name         text        not null check (char_length(name) between 1 and 200),
    name_key     text        not null collate "C" check (name_key <> ''),
    description  text        not null check (char_length(description) <= 1000),
    website      text        check (octet_length(website) between 1 and 2000),
    country      text        check (country ~ '^[A-Z]{2}$'),
    founded_year smallint    check (founded_year between 1000 and 2999),
    status       text        not null check (status in ('draft', 'published')),
    published_at timestamptz,
    version      bigint      not null check (version >= 1),
    revision_id  uuid        not null,
    created_at   timestamptz not null,
    updated_at   timestamptz not null,
    deleted_at   timestamptz,
    is_public    boolean     not null generated always as (status = 'published' and deleted_at is null) stored,
    -- What a category's list of companies copies, so that it is read in the order of its index.
    constraint companies_listing unique (id, name_key, is_public),
    constraint companies_slug_taken foreign key (kind, slug, id) references slug_history (kind, slug, entity),
    constraint companies_revision foreign key (revision_id, id, version) references revisions (id, entity, version),
    check ((status = 'draft') = (published_at is null))
);
create index companies_by_name on companies (name_key, id) where is_public;

-- Name and visibility are the company's, and follow it by themselves: a category of thousands of companies is listed,
-- and counted, from one index.
create table company_categories (
    company_id  uuid    not null,
    category_id uuid    not null references categories,
    name_key    text    not null collate "C",
    is_public   boolean not null,
    primary key (company_id, category_id),
    constraint company_categories_company foreign key (company_id, name_key, is_public)
        references companies (id, name_key, is_public) on update cascade
);
create index company_categories_by_name on company_categories (category_id, name_key, company_id) where is_public;
-- The foreign key's own look-ups, drafts included.
create index company_categories_category on company_categories (category_id);

create table term_companies (
    term_id    uuid not null references terms,
    company_id uuid not null references companies,
    primary key (term_id, company_id)
);
create index term_companies_company on term_companies (company_id, term_id);

do $$
declare logged text;
begin
    foreach logged in array array['slug_history', 'categories', 'terms', 'term_aliases', 'term_relations',
                                  'term_sources', 'companies', 'company_categories', 'term_companies'] loop
        execute format('create trigger guard before insert or update or delete or truncate on %I
                        for each statement execute function refuse_unlogged_write()', logged);
    end loop;
end $$;

-- No cycles. The lock comes before the look: without it two writers that close a loop from both ends would each look
-- before the other commits, and both would commit. It is a statement's trigger, so that a bulk write looks once.
create function refuse_relation_cycle() returns trigger language plpgsql as $$
declare looped uuid; graph text;
begin
    if not exists (select from added where kind in ('broader', 'replaced_by')) then
        return null;
    end if;
    perform pg_advisory_xact_lock(hashtext('termbase.term_relations'));
    with recursive walk (start, kind, node) as (
        select owner, kind, other from added where kind in ('broader', 'replaced_by')
        union
        select walk.start, walk.kind, next.other
          from walk join term_relations next on next.owner = walk.node and next.kind = walk.kind
    )
    select start, kind into looped, graph from walk where node = start limit 1;
    if found then
        raise exception 'the % relations of term % lead back to it', graph, looped
            using errcode = 'check_violation', constraint = 'term_relations_no_cycle', table = 'term_relations',
                  column = graph, detail = looped::text;
    end if;
    return null;
end $$;
create trigger no_cycle_insert after insert on term_relations referencing new table as added
    for each statement execute function refuse_relation_cycle();
create trigger no_cycle_update after update on term_relations referencing new table as added
    for each statement execute function refuse_relation_cycle();

-- The tree is at most 20 levels deep: every page of a term shows the way up, and every list the way down.
create function refuse_category_cycle() returns trigger language plpgsql as $$
declare looped uuid; levels integer;
begin
    if not exists (select from added where parent_id is not null) then
        return null;
    end if;
    perform pg_advisory_xact_lock(hashtext('termbase.categories'));
    with recursive up (start, node, height) as (
        select id, parent_id, 1 from added where parent_id is not null
        union all
        select up.start, next.parent_id, up.height + 1
          from up join categories next on next.id = up.node
         where next.parent_id is not null and up.node <> up.start and up.height <= 20
    ),
    down (start, node, depth) as (
        select id, id, 1 from added where parent_id is not null
        union all
        select down.start, next.id, down.depth + 1
          from down join categories next on next.parent_id = down.node
         where next.id <> down.start and down.depth <= 20
    )
    select start, case when looping then 0 else levels_of end into looped, levels
      from (select u.start, bool_or(u.node = u.start) as looping,
                   max(u.height) + (select max(d.depth) from down d where d.start = u.start) as levels_of
              from up u group by u.start) found
     where looping or levels_of > 20
     order by looping desc
     limit 1;
    if found then
        raise exception 'the parents of category % lead back to it, or are more than 20', looped
            using errcode = 'check_violation', table = 'categories', column = 'parent', detail = looped::text,
                  constraint = case levels when 0 then 'categories_no_cycle' else 'categories_depth' end;
    end if;
    return null;
end $$;
create trigger no_cycle_insert after insert on categories referencing new table as added
    for each statement execute function refuse_category_cycle();
create trigger no_cycle_update after update on categories referencing new table as added
    for each statement execute function refuse_category_cycle();

-- Cards: how an entity shows in lists and on others' pages, said once. Only what is public has one.
create view term_cards as
select t.id, t.slug, t.name_key, t.category_id, t.status,
       json_build_object(
           'id', t.id, 'slug', t.slug, 'name', t.name,
           'acronyms', array(select a.name from term_aliases a where a.term_id = t.id and a.kind = 'acronym' order by a.position),
           'definition', t.definition,
           'category', json_build_object('id', c.id, 'slug', c.slug, 'name', c.name),
           'status', t.status
       ) as card
  from terms t join categories c on c.id = t.category_id
 where t.status <> 'draft' and t.deleted_at is null;

create view company_cards as
select k.id, k.slug, k.name_key,
       json_build_object(
           'id', k.id, 'slug', k.slug, 'name', k.name, 'description', k.description, 'website', k.website,
           'country', k.country, 'status', k.status
       ) as card
  from companies k
 where k.is_public;

-- `term_count` has the terms of the categories below as well, `company_count` the companies that name this one.
create view category_cards as
select c.id, c.slug, c.name_key, c.parent_id, c.rank,
       json_build_object(
           'id', c.id, 'slug', c.slug, 'name', c.name, 'description', c.description,
           'parent', (select p.slug from categories p where p.id = c.parent_id),
           'term_count', (
               with recursive below (id) as (
                   select c.id union all select b.id from below join categories b on b.parent_id = below.id where b.deleted_at is null
               )
               select count(*) from below join terms t on t.category_id = below.id
                where t.status = 'published' and t.deleted_at is null
           ),
           'company_count', (
               select count(*) from company_categories l where l.category_id = c.id and l.is_public
           )
       ) as card
  from categories c
 where c.deleted_at is null;
