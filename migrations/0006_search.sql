-- Search: words of names, words of texts, and trigrams of names. All of it is generated from what is written, so it can't
-- fall out of step. The functions say how, once for what is stored and for what is asked. What they call is looked up here
-- and now (SQL-standard bodies), not where they run: a restored dump fills the columns with no schema in its search path.

-- The words of a folded name; those with signs also without (`.net` as `net`). In scripts that don't separate words each
-- letter, and each pair of neighbours, is one: so a part of a Chinese or Japanese name finds it. A lexeme has at most 2,046
-- bytes.
create function name_lexemes(name_key text) returns text[] language sql immutable strict parallel safe
    return array(
        select left(lexeme, 500)
          from unnest(string_to_array(name_key, ' ')) with ordinality as words (word, place)
         cross join lateral (
             select word as lexeme where word !~ '[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]'
             union all
             select btrim(word, '.#*@&+%-') where btrim(word, '.#*@&+%-') <> word
             union all
             select substr(word, at, size) from generate_series(1, char_length(word)) as a (at), (values (1), (2)) as s (size)
              where word ~ '[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]' and at + size - 1 <= char_length(word)
         ) lexemes
         where lexeme <> ''
         order by place
    );

create function name_words(name_key text) returns tsvector language sql immutable strict parallel safe
    return case
        -- Nearly all names: nothing to split, nothing to cut.
        when name_key ~ '^[a-z0-9 ]+$' and char_length(name_key) <= 500
        then array_to_tsvector(string_to_array(name_key, ' '))
        else array_to_tsvector(name_lexemes(name_key))
    end;

-- A text's words. Hyphens and the like separate them, as in names (`GPT-3` is found by `gpt 3`), and what looks like a tag is
-- none: the parser would leave out all that follows a `<script>`.
create function text_words(text text) returns tsvector language sql immutable strict parallel safe
    return to_tsvector('pg_catalog.english', translate(text, '-‐‑‒–—/_<>', '          '));

create function text_query(text text) returns tsquery language sql immutable strict parallel safe
    return plainto_tsquery('pg_catalog.english', translate(text, '-‐‑‒–—/_<>', '          '));

-- All words of what is asked; the last one may be the beginning of one, from three letters on, since it is being typed.
-- Quoted, so that nothing in it is taken for an operator.
create function name_query(name_key text) returns tsquery language sql immutable strict parallel safe
begin atomic
    select string_agg('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || ''''
                      || case when place = count and right(name_key, char_length(lexeme)) = lexeme and char_length(lexeme) > 2 then ':*' else '' end,
                      ' & ')::tsquery
      from (select lexeme, place, max(place) over () as count
              from unnest(name_lexemes(name_key)) with ordinality as l (lexeme, place)) lexemes;
end;

alter table terms
    add column name_words tsvector not null generated always as (name_words(name_key)) stored,
    -- Short, so that what is found is sorted by it without fetching long texts.
    add column definition_words tsvector not null generated always as (text_words(name || ' ' || definition)) stored,
    add column text_words tsvector not null
        generated always as (text_words(name || ' ' || definition || ' ' || body)) stored;
alter table term_aliases
    add column name_words tsvector not null generated always as (name_words(name_key)) stored;
alter table categories
    add column name_words tsvector not null generated always as (name_words(name_key)) stored,
    add column text_words tsvector not null generated always as (text_words(name || ' ' || description)) stored;
alter table companies
    add column name_words tsvector not null generated always as (name_words(name_key)) stored,
    add column text_words tsvector not null generated always as (text_words(name || ' ' || description)) stored;

-- What was written lately waits unsorted, and each search goes through it: so not much of it (in KiB).
create index terms_search_names on terms using gin (name_words) with (gin_pending_list_limit = 256);
create index terms_search_alike on terms using gin (name_key gin_trgm_ops) with (gin_pending_list_limit = 256);
create index terms_search_texts on terms using gin (text_words) with (gin_pending_list_limit = 256);
create index term_aliases_search_names on term_aliases using gin (name_words) with (gin_pending_list_limit = 256);
create index term_aliases_search_alike on term_aliases using gin (name_key gin_trgm_ops) with (gin_pending_list_limit = 256);
create index companies_search_names on companies using gin (name_words) with (gin_pending_list_limit = 256);
create index companies_search_alike on companies using gin (name_key gin_trgm_ops) with (gin_pending_list_limit = 256);
create index companies_search_texts on companies using gin (text_words) with (gin_pending_list_limit = 256);
-- Names of any status, by how they begin; those of terms have such an index already.
create index companies_search_begins on companies (name_key) where deleted_at is null;

-- Every name that something can be found by, and every text. `role` is `name`, or an alias' kind.
create view search_names as
select 'term' as kind, t.id, t.category_id, t.status, 'name' as role, t.name, t.name_key, t.name_words
  from terms t where t.deleted_at is null
union all
select 'term', t.id, t.category_id, t.status, a.kind, a.name, a.name_key, a.name_words
  from term_aliases a join terms t on t.id = a.term_id where t.deleted_at is null
union all
select 'category', c.id, c.id, 'published', 'name', c.name, c.name_key, c.name_words
  from categories c where c.deleted_at is null
union all
select 'company', k.id, null, k.status, 'name', k.name, k.name_key, k.name_words
  from companies k where k.deleted_at is null;

create view search_texts as
select 'term' as kind, t.id, t.category_id, t.status, t.name, t.name_key, t.definition_words as first_words, t.text_words
  from terms t where t.deleted_at is null
union all
select 'category', c.id, c.id, 'published', c.name, c.name_key, c.text_words, c.text_words
  from categories c where c.deleted_at is null
union all
select 'company', k.id, null, k.status, k.name, k.name_key, k.text_words, k.text_words
  from companies k where k.deleted_at is null;
