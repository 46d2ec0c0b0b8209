-- name: lock
select pg_advisory_lock($1)

-- name: unlock
select pg_advisory_unlock($1)

-- name: create_extension
create extension if not exists timescaledb

-- name: create_table
create table if not exists migrations (
    name     text primary key,
    checksum text not null,
    run_at   timestamptz not null default now()
)

-- name: applied
select name, checksum from migrations order by name

-- name: book
insert into migrations (name, checksum) values ($1, $2)

-- name: password_statement
-- A role's password takes no parameter; format() quotes both parts.
select format('alter role %I password %L', $1::text, $2::text)
