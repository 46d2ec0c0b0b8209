-- name: clock
select clock_timestamp()

-- name: durability
select name, setting from pg_settings
where name in ('fsync', 'synchronous_commit', 'full_page_writes') order by name

-- name: timescaledb_version
select extversion from pg_extension where extname = 'timescaledb'
