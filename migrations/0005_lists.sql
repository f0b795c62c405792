-- Lists in every order, and counts that cost nothing to show.

-- How many published terms stand in each category itself, and how many public companies name it; a category without a
-- row has none of either. A write keeps it behind the head, where writers stand in a row: so two who count in the same
-- categories can't wait for each other. For the same reason there is no foreign key: its look at the category could wait
-- for one who renames it, and stands in that row behind us.
create table category_counts (
    category_id uuid   primary key,
    terms       bigint not null check (terms >= 0),
    companies   bigint not null check (companies >= 0)
);
insert into category_counts (category_id, terms, companies)
select c.id,
       (select count(*) from terms t where t.category_id = c.id and t.status = 'published' and t.deleted_at is null),
       (select count(*) from company_categories l where l.category_id = c.id and l.is_public)
  from categories c;
create trigger guard before insert or update or delete or truncate on category_counts
    for each statement execute function refuse_unlogged_write();

-- `term_count` has the terms of the categories below as well, `company_count` the companies that name this one.
create or replace view category_cards as
select c.id, c.slug, c.name_key, c.parent_id, c.rank,
       json_build_object(
           'id', c.id, 'slug', c.slug, 'name', c.name, 'description', c.description,
           'parent', (select p.slug from categories p where p.id = c.parent_id),
           'term_count', (
               with recursive below (id) as (
                   select c.id union all select b.id from below join categories b on b.parent_id = below.id where b.deleted_at is null
               )
               select coalesce(sum(n.terms), 0)::bigint from below join category_counts n on n.category_id = below.id
           ),
           'company_count', coalesce((select n.companies from category_counts n where n.category_id = c.id), 0)
       ) as card
  from categories c
 where c.deleted_at is null;

-- What is public, by its dates: all of it, and a category's. What else may narrow it stands in the index too, so that those
-- who are passed over cost no look at their rows: what came in by one import shares a date, and may share no letter with
-- what is wanted. Of the other statuses there is little, and their index is that of their names.
create index terms_by_updated on terms (updated_at, id) include (name_key)
    where status = 'published' and deleted_at is null;
create index terms_by_published on terms (published_at, id) include (updated_at, name_key)
    where status = 'published' and deleted_at is null;
create index terms_by_category_updated on terms (category_id, updated_at, id) where status = 'published' and deleted_at is null;
create index terms_by_category_published on terms (category_id, published_at, id) where status = 'published' and deleted_at is null;
create index companies_by_country on companies (country, name_key, id) where is_public;

-- What lists sort by stands beside the card.
create or replace view live_term_cards as
select t.id, t.slug, t.name_key, t.category_id, t.status,
       json_build_object(
           'id', t.id, 'slug', t.slug, 'name', t.name,
           'acronyms', array(select a.name from term_aliases a where a.term_id = t.id and a.kind = 'acronym' order by a.position),
           'definition', t.definition,
           'category', json_build_object('id', c.id, 'slug', c.slug, 'name', c.name),
           'status', t.status
       ) as card,
       t.updated_at, t.published_at
  from terms t join categories c on c.id = t.category_id
 where t.deleted_at is null;

create or replace view live_company_cards as
select k.id, k.slug, k.name_key,
       json_build_object(
           'id', k.id, 'slug', k.slug, 'name', k.name, 'description', k.description, 'website', k.website,
           'country', k.country, 'status', k.status
       ) as card,
       k.status, k.is_public, k.country
  from companies k
 where k.deleted_at is null;
