-- name: rows
select device_id, time, co2_ppm, received_at from environmental_readings

-- name: has_row
select exists (select from environmental_readings where device_id = $1 and time = $2)

-- name: quarantined
-- Every refused payload with its reason, and how many items it made.
select payload, reason, count(*) as n
from quarantine_items
join quarantine_messages using (message_id)
join quarantine_payloads using (digest)
group by payload, reason

-- name: lock_readings
lock table environmental_readings in access exclusive mode

-- name: lock_waiters
select count(*) from pg_locks
where not granted and relation = 'environmental_readings'::regclass
