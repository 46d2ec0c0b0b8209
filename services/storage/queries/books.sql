-- name: add_messages
insert into ledger_messages (source, hour, outcome, reason, n)
select * from unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::bigint[])
on conflict (source, hour, outcome, reason) do update set n = ledger_messages.n + excluded.n

-- name: add_readings
insert into ledger_readings (source, hour, kind, outcome, reason, n)
select * from unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[],
                     $6::bigint[])
on conflict (source, hour, kind, outcome, reason) do update
set n = ledger_readings.n + excluded.n

-- name: add_stored
insert into stored_rows (source, kind, day, n)
select * from unnest($1::text[], $2::text[], $3::date[], $4::bigint[])
on conflict (source, kind, day) do update set n = stored_rows.n + excluded.n

-- name: add_quarantine
insert into ledger_quarantine (source, state, n)
select * from unnest($1::text[], $2::text[], $3::bigint[])
on conflict (source, state) do update set n = ledger_quarantine.n + excluded.n

-- name: add_batch
insert into batches (batch_id, source, first_offset, next_offset, messages, qos0, readings)
select $1, * from unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                         $7::bigint[])

-- name: add_changed_hours
insert into changed_hours (kind, hour, slot, batch_id)
select h.kind, h.hour, s.slot, $3
from unnest($1::text[], $2::timestamptz[]) as h (kind, hour)
cross join generate_series(0, (select slots - 1 from derive_slots)) as s (slot)
