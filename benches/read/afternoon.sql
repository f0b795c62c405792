select t.id, t.slug, t.name, t.status, t.definition, t.body, t.body_html, t.reviewed_on, t.published_at, t.created_at,
       t.updated_at, t.version,
       (select coalesce(json_agg(json_build_object('name', a.name, 'kind', a.kind) order by a.position), '[]')
          from term_aliases a where a.term_id = t.id and a.kind <> 'hidden') as aliases,
       (select coalesce(json_agg(json_build_object('title', s.title, 'url', s.url, 'publisher', s.publisher,
                                                   'published_on', s.published_on) order by s.position), '[]')
          from term_sources s where s.term_id = t.id) as sources,
       (with recursive up (id, slug, name, parent_id, height) as (
            select c.id, c.slug, c.name, c.parent_id, 0 from categories c where c.id = t.category_id
            union all
            select c.id, c.slug, c.name, c.parent_id, up.height + 1 from up join categories c on c.id = up.parent_id
        )
        select json_build_object(
                   'id', (array_agg(id order by height))[1], 'slug', (array_agg(slug order by height))[1],
                   'name', (array_agg(name order by height))[1],
                   'ancestors', coalesce(json_agg(json_build_object('id', id, 'slug', slug, 'name', name) order by height desc)
                                         filter (where height > 0), '[]'))
          from up) as category,
       coalesce(r.related, '[]') as related, coalesce(r.broader, '[]') as broader, coalesce(r.narrower, '[]') as narrower,
       coalesce(r.replaced_by, '[]') as replaced_by, coalesce(r.replaces, '[]') as replaces,
       (select count(*) from term_companies l join companies k on k.id = l.company_id and k.is_public
         where l.term_id = t.id) as linked,
       (select count(*) from company_categories l
         where l.category_id = t.category_id and l.is_public
           and not exists (select from term_companies o where o.term_id = t.id and o.company_id = l.company_id)) as of_category,
       coalesce(k.cards, '[]') as companies
  from terms t
  left join lateral (
      select json_agg(n.card order by n.name_key, n.id) filter (where l.role = 'related') as related,
             json_agg(n.card order by n.name_key, n.id) filter (where l.role = 'broader') as broader,
             json_agg(n.card order by n.name_key, n.id) filter (where l.role = 'narrower') as narrower,
             json_agg(n.card order by l.position) filter (where l.role = 'replaced_by') as replaced_by,
             json_agg(n.card order by n.name_key, n.id) filter (where l.role = 'replaces') as replaces
        from (select kind as role, other as id, position from term_relations where owner = t.id
              union
              select case kind when 'broader' then 'narrower' when 'replaced_by' then 'replaces' else kind end, owner, null
                from term_relations where other = t.id) l
        join term_cards n on n.id = l.id
  ) r on true
  left join lateral (
      select json_agg(c.card order by f.rank, f.name_key, f.id) as cards
        from ((select k.id, k.name_key, 0 as rank
                 from term_companies l join companies k on k.id = l.company_id and k.is_public
                where l.term_id = t.id)
              union all
              (select l.company_id, l.name_key, 1
                 from company_categories l
                where l.category_id = t.category_id and l.is_public
                  and not exists (select from term_companies o where o.term_id = t.id and o.company_id = l.company_id)
                order by l.name_key, l.company_id
                limit 12)
              order by rank, name_key, id
              limit 12) f
        join company_cards c on c.id = f.id
  ) k on true
 where t.id = (select s.id from terms s where s.slug = $1) and t.deleted_at is null and t.status <> 'draft'
