-- The sitemap lists all public terms in the order in which they were made, 10,000 at a time, and begins with an index of all
-- of them: from here it reads neither's long rows. (The feed has the index that lists by date have.)

create index terms_site on terms (id) include (slug, updated_at) where status <> 'draft' and deleted_at is null;
