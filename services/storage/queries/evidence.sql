-- name: rows
select r.*
from {table} as r
join unnest($1::text[], $2::text[], $3::timestamptz[]) as wanted (device_id, part, time)
  using (device_id, part, time)

-- name: items
select m.generation, m.partition, m.kafka_offset, i.position
from quarantine_messages as m
join unnest($2::integer[], $3::integer[], $4::bigint[])
    as wanted (generation, partition, kafka_offset)
  using (generation, partition, kafka_offset)
join quarantine_items as i using (message_id)
where m.topic = $1
