-- name: reserve_batches
-- Takes $1 batch ids in one go and returns the first; whoever writes meanwhile gets later ones.
select setval('batch_ids', nextval('batch_ids') + $1::bigint) - $1::bigint

-- name: fill
-- $1 prefix, $2 devices, $3 first time, $4 interval, $5 rounds, $6 first batch, $7 rows a batch.
insert into environmental_readings (
    device_id, part, time, received_at, time_source, kafka_partition, kafka_offset, batch_id,
    pm2_5_ugm3, pm10_ugm3, temperature_c, relative_humidity_pct, pressure_hpa
)
select $1::text || lpad(device::text, 6, '0'), '', $3::timestamptz + turn * $4::interval,
       $3::timestamptz + turn * $4::interval + interval '1 second', 'device', 0,
       turn::bigint * $2::integer + device,
       $6::bigint + (turn::bigint * $2::integer + device) / $7::integer,
       5 + (device + turn) % 50, 12 + (device + turn) % 100, 20 + (device + turn) % 10,
       40 + (device + turn) % 50, 1000 + (device + turn) % 30
from generate_series(0, $5::integer - 1) as turn, generate_series(0, $2::integer - 1) as device
order by turn, device

-- name: book_rows
-- What lies in the span and is of these batches, by day.
insert into stored_rows as booked (source, kind, day, n)
select 'growth', 'environmental', (time at time zone 'UTC')::date, count(*)
from environmental_readings
where batch_id >= $1::bigint and batch_id < $1::bigint + $2::bigint and time >= $3 and time < $4
group by 3
on conflict (source, kind, day) do update set n = booked.n + excluded.n

-- name: book_readings
insert into ledger_readings as booked (source, hour, kind, outcome, n)
select 'growth', date_trunc('hour', now()), 'environmental', outcome, $1::bigint
from unnest(array['decoded', 'written']) as outcome
on conflict (source, hour, kind, outcome, reason) do update set n = booked.n + excluded.n

-- name: vacuum
vacuum (analyze) environmental_readings

-- name: newest
select * from environmental_readings where device_id = $1 and part = '' order by time desc limit 1

-- name: day
select * from environmental_readings
where device_id = $1 and part = '' and time >= $2 and time < $3
order by time

-- name: batch
-- As derive finds what a batch brought for an hour: by BRIN, in the chunks of that hour.
select device_id, part, time from environmental_readings
where batch_id = $1 and time >= $2 and time < $3

-- name: middle_batch
select batch_id, time from environmental_readings
where time >= (select min(time) + (max(time) - min(time)) / 2 from environmental_readings)
order by time limit 1
