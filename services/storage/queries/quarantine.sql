-- name: message_ids
select nextval('quarantine_message_ids') from generate_series(1, $1)

-- name: add_payloads
insert into quarantine_payloads (digest, payload)
select * from unnest($1::bytea[], $2::bytea[])
on conflict (digest) do nothing

-- name: add_messages
insert into quarantine_messages (message_id, topic, generation, partition, kafka_offset,
                                 received_at, mqtt_topic, oversize, refused, digest)
select * from unnest($1::bigint[], $2::text[], $3::integer[], $4::integer[], $5::bigint[],
                     $6::timestamptz[], $7::text[], $8::text[], $9::text[], $10::bytea[])

-- name: known_messages
select message_id, topic, generation, partition, kafka_offset
from quarantine_messages
join unnest($1::text[], $2::integer[], $3::integer[], $4::bigint[])
    as w (topic, generation, partition, kafka_offset)
  using (topic, generation, partition, kafka_offset)

-- name: add_items
insert into quarantine_items (message_id, source, position, reason, detail, path, byte_position,
                              kind, device_id, part, time)
select * from unnest($1::bigint[], $2::text[], $3::integer[], $4::text[], $5::text[], $6::text[],
                     $7::bigint[], $8::text[], $9::text[], $10::text[], $11::timestamptz[])

-- name: lock_message
select m.message_id, m.topic, m.generation, m.partition, m.kafka_offset, m.received_at,
       m.mqtt_topic, m.oversize, m.refused, m.digest, p.payload
from quarantine_messages as m
join quarantine_payloads as p using (digest)
where m.message_id = $1
for update of m

-- name: items_of
select item_id, source, position, reason, kind, device_id, state
from quarantine_items
where message_id = $1
order by item_id

-- name: close
update quarantine_items
set state = $2, closed_at = now(), closed_by = $3, note = $4, mended_digest = $5
where item_id = any($1::bigint[]) and state = 'open'
returning source

-- name: item
select i.item_id, i.message_id, i.source, i.position, i.reason, i.detail, i.path, i.byte_position,
       i.kind, i.device_id, i.part, i.time, i.state, i.made_at, i.closed_at, i.closed_by, i.note,
       m.topic, m.generation, m.partition, m.kafka_offset, m.received_at, m.mqtt_topic,
       m.oversize, m.refused, p.payload, mended.payload as mended_payload
from quarantine_items as i
join quarantine_messages as m using (message_id)
join quarantine_payloads as p using (digest)
left join quarantine_payloads as mended on mended.digest = i.mended_digest
where i.item_id = $1

-- name: list
select i.item_id, i.reason, i.detail, i.path, i.position, i.device_id, i.part, i.time, i.state,
       i.made_at, m.received_at, m.mqtt_topic, octet_length(p.payload) as bytes
from quarantine_items as i
join quarantine_messages as m using (message_id)
join quarantine_payloads as p using (digest)
where ($1::text is null or i.reason = $1)
  and ($2::text is null or i.device_id = $2)
  and ($3::text is null or i.state = $3)
order by i.item_id desc
limit $4

-- name: select_open
-- Messages with open items by what a person may name; oldest first.
select distinct message_id
from quarantine_items
where state = 'open'
  and ($1::text is null or reason = $1)
  and ($2::text is null or device_id = $2)
order by message_id
limit $3

-- name: registered_since
-- Messages that wait for a device which is registered now.
select distinct i.message_id
from quarantine_items as i
where i.state = 'open' and i.reason = 'unknown_device'
  and exists (select from current_devices as d where d.device_id = i.device_id)
order by i.message_id
limit $1

-- name: by_reason
select reason, state, count(*) as n
from quarantine_items
group by reason, state
order by reason, state

-- name: waiting_of
-- Messages with open items of these devices, oldest first.
select distinct message_id
from quarantine_items
where state = 'open' and device_id = any($1::text[])
order by message_id

-- name: open_reasons_of
select reason, count(*) as n
from quarantine_items
where state = 'open' and device_id = any($1::text[])
group by reason
order by reason
