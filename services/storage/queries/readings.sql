-- name: create_stage
-- A place of the session's own for a batch that meets rows already there.
create temp table if not exists stage_{table} (like {table} including defaults)
on commit delete rows

-- name: clear_stage
truncate stage_{table}

-- name: insert_new
-- In the order of identity, so that two writers never wait for each other in a ring.
insert into {table} ({columns})
select {columns} from stage_{table} order by device_id, part, time
on conflict (device_id, part, time) do nothing
returning device_id, part, time

-- name: insert_new_columns
-- The same; the identities come back as three arrays, which cost a tenth of as many rows.
with inserted as (
    insert into {table} ({columns})
    select {columns} from stage_{table} order by device_id, part, time
    on conflict (device_id, part, time) do nothing
    returning device_id, part, time
)
select array_agg(device_id) as device_ids, array_agg(part) as parts,
       array_agg((extract(epoch from time) * 1000000)::bigint) as times_us
from inserted

-- name: lock_existing
-- One index look-up for each staged row, in the order of identity. Written as a join, the planner,
-- which knows nothing of a stage that was filled a moment ago, compares each row with each: ten
-- thousand duplicates then take half a minute.
select r.*
from (select device_id, part, time from stage_{table} order by device_id, part, time offset 0) as s
cross join lateral (
    select * from {table} as r
    where r.device_id = s.device_id and r.part = s.part and r.time = s.time
      and r.time between $1 and $2
    for update
) as r

-- name: keep_former
-- The row as it stood, provenance included, before it is changed. Look-ups as above.
insert into reading_revisions (kind, device_id, part, time, former, replaced_by, outcome)
select $1, r.device_id, r.part, r.time, to_jsonb(r), $2, $3
from stage_{table} as s
cross join lateral (
    select * from {table} as r
    where r.device_id = s.device_id and r.part = s.part and r.time = s.time
      and r.time between $4 and $5
    offset 0
) as r

-- name: change_existing
-- All of them are there, locked by us: the conflict finds each by its index.
insert into {table} ({columns})
select {columns} from stage_{table} order by device_id, part, time
on conflict (device_id, part, time) do update
set ({changing}) = row({staged}), stored_at = now()

-- name: former_versions
select v.device_id, v.part, v.time, v.former::text as former
from unnest($2::text[], $3::text[], $4::timestamptz[]) as w (device_id, part, time)
cross join lateral (
    select * from reading_revisions as v
    where v.kind = $1 and v.device_id = w.device_id and v.part = w.part and v.time = w.time
    offset 0
) as v
order by v.replaced_at desc
