-- Who may do what. A token's secret is shown once; only its SHA-256 is kept, so reading this table opens nothing.
create table api_tokens (
    id           uuid        primary key,
    name         text        not null check (char_length(name) between 1 and 100),
    role         text        not null check (role in ('viewer', 'contributor', 'editor', 'admin')),
    sha256       bytea       not null constraint api_tokens_sha256 unique check (octet_length(sha256) = 32),
    created_at   timestamptz not null,
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
);
