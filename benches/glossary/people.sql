-- Categories and companies of :blocks blocks. Of twenty categories two stand at the top, with nine below each.
begin;
insert into categories (id, slug, name, name_key, description, parent_id, rank, version, revision_id, created_at, updated_at)
select bench.category(n), 'category-' || n, 'Category ' || n, 'category ' || n, 'A part of the field, and what belongs to it.',
       case when n % 10 <> 0 then bench.category(n - n % 10) end, n % 20, 1, bench.revision(bench.category(n)), now(), now()
  from generate_series(0, :blocks * 20 - 1) n;

-- One in forty is a draft.
insert into companies (id, slug, name, name_key, description, website, country, founded_year, status, published_at, version,
                       revision_id, created_at, updated_at)
select bench.company(n), 'company-' || n, 'Company ' || n, 'company ' || n,
       'It makes models and the tools around them, and says so in two sentences. This is the second one, of usual length.',
       'https://company-' || n || '.example', (array['US', 'US', 'US', 'DE', 'FR', null])[1 + n % 6], 1990 + n % 30,
       case when n % 40 = 7 then 'draft' else 'published' end, case when n % 40 <> 7 then now() end, 1,
       bench.revision(bench.company(n)), now(), now()
  from generate_series(0, :blocks * 200 - 1) n;

insert into company_categories (company_id, category_id, name_key, is_public)
select bench.company(n), bench.category(n / 200 * 20 + (n % 200 + step * 7) % 20), 'company ' || n, n % 40 <> 7
  from generate_series(0, :blocks * 200 - 1) n, generate_series(0, 2) step;

insert into slug_history (kind, slug, entity, public)
select 'category', slug, id, true from categories
union all
select 'company', slug, id, is_public from companies;

insert into revisions (id, kind, entity, version, what, document, author, at)
select revision_id, 'category', id, 1, 'created', jsonb_build_object('slug', slug, 'name', name), 'bench', updated_at from categories
union all
select revision_id, 'company', id, 1, 'created', jsonb_build_object('slug', slug, 'name', name), 'bench', updated_at from companies;

insert into changes (position, id, what, public_before, public_after, keys, at)
values (1, gen_random_uuid(), 'reset', true, true, '{}', now());
update log_head set position = 1;
commit;
