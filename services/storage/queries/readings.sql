-- name: create_stage
-- A place of the session's own for a batch that meets rows already there.
create temp table if not exists stage_{table} (like {table} including defaults)
on commit delete rows

-- name: clear_stage
truncate stage_{table}

-- name: index_scans_only
-- The planner knows nothing of a stage that was filled a moment ago; a hash or merge join would
-- read whole chunks for a few identities.
set local enable_hashjoin = off;
set local enable_mergejoin = off;
set local enable_seqscan = off;

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
select r.*
from stage_{table} as s
join {table} as r on r.device_id = s.device_id and r.part = s.part and r.time = s.time
where r.time between $1 and $2
order by r.device_id, r.part, r.time
for update of r

-- name: keep_former
-- The row as it stood, provenance included, before it is changed.
insert into reading_revisions (kind, device_id, part, time, former, replaced_by, outcome)
select $1, r.device_id, r.part, r.time, to_jsonb(r), $2, $3
from stage_{table} as s
join {table} as r on r.device_id = s.device_id and r.part = s.part and r.time = s.time
where r.time between $4 and $5

-- name: change_existing
update {table} as r
set ({columns}) = (select {staged_columns}), stored_at = now()
from stage_{table} as s
where r.device_id = s.device_id and r.part = s.part and r.time = s.time
  and r.time between $1 and $2

-- name: former_versions
select v.device_id, v.part, v.time, v.former::text as former
from reading_revisions as v
join unnest($2::text[], $3::text[], $4::timestamptz[]) as wanted (device_id, part, time)
  using (device_id, part, time)
where v.kind = $1
order by v.replaced_at desc
