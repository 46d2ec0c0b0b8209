-- name: exists
select exists (select from pg_database where datname = $1)

-- name: create_statement
-- A database's name takes no parameter; format() quotes it.
select format('create database %I', $1::text)
