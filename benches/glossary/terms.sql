-- The terms from :from to below :to. Two of a hundred are drafts, one is deprecated.
begin;
insert into terms (id, slug, name, name_key, definition, body, body_html, body_renderer, category_id, status, published_at, version,
                   revision_id, created_at, updated_at)
select bench.term(n), 'term-' || n, name, lower(name), name || ': ' || definition, replace(body, 'TERM-NAME', name),
       replace(html, 'TERM-NAME', name), renderer, bench.category(n / 1000 * 20 + n % 20), status,
       case when status <> 'draft' then day - interval '1 day' end, 1, bench.revision(bench.term(n)), day - interval '2 days', day
  from (select n,
               (array['Sparse', 'Deep', 'Latent', 'Causal', 'Neural', 'Bayesian', 'Contrastive', 'Federated', 'Hybrid', 'Adaptive', 'Robust'])[1 + n % 11]
               || ' ' || (array['Attention', 'Transformer', 'Embedding', 'Alignment', 'Retrieval', 'Sampling', 'Diffusion', 'Pruning', 'Routing',
                                'Inference', 'Tokenisation', 'Quantisation', 'Memory'])[1 + n % 13]
               || ' ' || n as name,
               case when n % 50 = 33 then 'draft' when n % 100 = 35 then 'deprecated' else 'published' end as status,
               timestamptz '2026-01-01' + bench.chance(n, 11) * interval '300 days' as day
          from generate_series(:from, :to - 1) n) made
  join bench.texts t on t.number = n % 256;

insert into term_aliases (term_id, position, name, name_key, kind)
select bench.term(n), 0, 'T' || n, 't' || n, 'acronym' from generate_series(:from, :to - 1) n
union all
select bench.term(n), 1, 'Expression ' || n, 'expression ' || n, 'synonym' from generate_series(:from, :to - 1) n;

insert into term_sources (term_id, position, title, url, publisher, published_on)
select bench.term(n), step, 'A paper on it, number ' || step, 'https://example.org/' || n || '/' || step, 'A journal', date '2024-05-01'
  from generate_series(:from, :to - 1) n, generate_series(0, 1) step;

-- Four related ones in the same block, the first of a block more often; one broader; and what replaces the deprecated.
insert into term_relations (owner, kind, other)
select distinct bench.term(n), 'related', bench.term(n - n % 1000 + other)
  from (select n, floor(1000 * power(bench.chance(n, step), 1.5))::bigint as other
          from generate_series(:from, :to - 1) n, generate_series(1, 4) step) made
 where other <> n % 1000 and other <> n % 1000 * 7 / 10 and n % 1000 <> other * 7 / 10
union all
select bench.term(n), 'broader', bench.term(n - n % 1000 + n % 1000 * 7 / 10) from generate_series(:from, :to - 1) n where n % 1000 > 0;
insert into term_relations (owner, kind, other, position)
select bench.term(n), 'replaced_by', bench.term(n - 1), 0 from generate_series(:from, :to - 1) n where n % 100 = 35;

insert into term_companies (term_id, company_id)
select bench.term(n), bench.company(n / 1000 * 200 + (n % 1000 * 31 + step * 77) % 200)
  from generate_series(:from, :to - 1) n, generate_series(0, 1) step;

insert into slug_history (kind, slug, entity, public)
select 'term', slug, id, status <> 'draft' from terms where id >= bench.term(:from) and id < bench.term(:to);
insert into revisions (id, kind, entity, version, what, document, author, at)
select revision_id, 'term', id, 1, 'created', jsonb_build_object('slug', slug, 'name', name, 'definition', definition), 'bench', updated_at
  from terms where id >= bench.term(:from) and id < bench.term(:to);
commit;
