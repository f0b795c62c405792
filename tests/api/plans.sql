-- A glossary of 20_000 terms: of ten categories below one and forty others, 5,000 companies of four categories each, and
-- for each term five relations, three companies, an acronym, a source and a revision. Written at once, past the triggers,
-- whose rules it keeps.
create function term(n bigint) returns uuid immutable language sql as $$ select ('00000000-0000-7000-8000-1' || lpad(n::text, 11, '0'))::uuid $$;
create function category(n bigint) returns uuid immutable language sql as $$ select ('00000000-0000-7000-8000-2' || lpad(n::text, 11, '0'))::uuid $$;
create function company(n bigint) returns uuid immutable language sql as $$ select ('00000000-0000-7000-8000-3' || lpad(n::text, 11, '0'))::uuid $$;
create function revision(of uuid) returns uuid immutable language sql as $$ select md5(of::text)::uuid $$;

begin;
set local session_replication_role = replica;
select setseed(0.7);

insert into categories (id, slug, name, name_key, description, parent_id, rank, version, revision_id, created_at, updated_at)
select category(n), 'category-' || n, 'Category ' || n, 'category ' || n, 'One of fifty.',
       case when n between 1 and 9 then category(0) end, n, 1, revision(category(n)), now(), now()
  from generate_series(0, 49) n;

insert into companies (id, slug, name, name_key, description, website, country, founded_year, status, published_at, version, revision_id,
                       created_at, updated_at)
select company(n), 'company-' || n, 'Company ' || n, 'company ' || n, repeat('It makes models, and says so in one sentence. ', 4),
       'https://company-' || n || '.example', (array['US', 'US', 'US', 'DE', 'FR', null])[1 + n % 6], 2000, 'published', now(), 1,
       revision(company(n)), now(), now()
  from generate_series(0, 4999) n;
insert into company_categories (company_id, category_id, name_key, is_public)
select company(n), category((n + step * 13) % 50), 'company ' || n, true
  from generate_series(0, 4999) n, generate_series(0, 3) step;

-- Of a thousand terms 20 are drafts, 10 deprecated, 10 in the trash; one in twenty stands under no letter. A tenth was
-- imported at one moment.
insert into terms (id, slug, name, name_key, definition, body, body_html, body_renderer, category_id, status, published_at, version,
                   revision_id, created_at, updated_at, deleted_at)
select term(n), 'term-' || n, key, key,
       'A term of a large glossary, which is defined by one sentence of usual length, and then by another.',
       repeat('A paragraph of the explanation, with *emphasis* and a [link](https://example.org). ', 5), repeat('<p>The same.</p>', 20), 1,
       category(n % 50), status, case when status <> 'draft' then day - interval '1 day' end, 1, revision(term(n)), day, day,
       case when n % 100 = 77 then day end
  from (select n,
               case when n % 40 = 0 then n || ' dimensions'
                    when n % 40 = 20 then '模型 ' || n
                    else chr(97 + (n * 7 % 26)::integer) || ' word ' || md5(n::text) end as key,
               case when n % 50 = 33 then 'draft' when n % 100 = 35 then 'deprecated' else 'published' end as status,
               case when n % 10 = 3 then timestamptz '2026-01-01' else timestamptz '2026-01-01' + random() * interval '300 days' end as day
          from generate_series(0, 20_000 - 1) n) made;
insert into term_aliases (term_id, position, name, name_key, kind)
select term(n), 0, 'T' || n, 't' || n, 'acronym' from generate_series(0, 20_000 - 1) n;
insert into term_sources (term_id, position, title, url)
select term(n), 0, 'A source', 'https://example.org/' || n from generate_series(0, 20_000 - 1) n;
insert into term_relations (owner, kind, other)
select term(n), 'related', term((n + step * step * 977 + step) % 20_000)
  from generate_series(0, 20_000 - 1) n, generate_series(1, 4) step
union all
select term(n), 'broader', term(n * 7 / 10) from generate_series(1, 20_000 - 1) n
on conflict do nothing;
-- Company 0 is known for one in 49.
insert into term_companies (term_id, company_id)
select term(n), company((n * 31 + step * 1201) % 5000) from generate_series(0, 20_000 - 1) n, generate_series(0, 2) step
union
select term(n), company(0) from generate_series(0, 20_000 - 1, 49) n;

insert into slug_history (kind, slug, entity, public)
select 'category', slug, id, true from categories
union all
select 'company', slug, id, true from companies
union all
select 'term', slug, id, status <> 'draft' from terms;
insert into revisions (id, kind, entity, version, what, document, author, at)
select revision_id, 'term', id, 1, case when deleted_at is null then 'created' else 'deleted' end, jsonb_build_object('slug', slug, 'name', name, 'body', body), 'test', updated_at from terms
union all
select revision_id, 'company', id, 1, 'created', jsonb_build_object('slug', slug), 'test', updated_at from companies
union all
select revision_id, 'category', id, 1, 'created', jsonb_build_object('slug', slug), 'test', updated_at from categories;
insert into changes (position, id, kind, entity, what, slug, public_before, public_after, keys, at)
select row_number() over (), id, kind, entity, 'created', document ->> 'slug', false, true, array['terms'], at from revisions;
update log_head set position = (select max(position) from changes);
insert into category_counts (category_id, terms, companies)
select c.id,
       (select count(*) from terms t where t.category_id = c.id and t.status = 'published' and t.deleted_at is null),
       (select count(*) from company_categories l where l.category_id = c.id and l.is_public)
  from categories c;
commit;
