-- Ids by number, in the order in which they were made, as those of UUIDv7 are.
create schema bench;
create function bench.term(n bigint) returns uuid immutable language sql as $$ select ('01940000-0000-7000-8000-1' || lpad(n::text, 11, '0'))::uuid $$;
create function bench.category(n bigint) returns uuid immutable language sql as $$ select ('01940000-0000-7000-8000-2' || lpad(n::text, 11, '0'))::uuid $$;
create function bench.company(n bigint) returns uuid immutable language sql as $$ select ('01940000-0000-7000-8000-3' || lpad(n::text, 11, '0'))::uuid $$;
create function bench.revision(of uuid) returns uuid immutable language sql as $$ select md5(of::text)::uuid $$;

-- From 0 to below 1, the same in each run.
create function bench.chance(n bigint, salt bigint) returns double precision immutable language sql as $$
    select ((n * 7919 + salt * 104729 + (n * n) % 6151) % 99991) / 99991.0::double precision
$$;

create table bench.texts (
    number     bigint   primary key,
    definition text     not null,
    body       text     not null,
    html       text     not null,
    renderer   smallint not null
);
