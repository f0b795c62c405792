insert into category_counts (category_id, terms, companies)
select c.id, coalesce(t.count, 0), coalesce(k.count, 0)
  from categories c
  left join (select category_id, count(*) from terms where status = 'published' and deleted_at is null group by 1) t on t.category_id = c.id
  left join (select category_id, count(*) from company_categories where is_public group by 1) k on k.category_id = c.id;
