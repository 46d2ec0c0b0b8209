-- name: current
-- The newest generation of each partition of a topic.
select distinct on (partition)
    partition, generation, topic_id, first_offset, next_offset, witness
from consumed_offsets
where topic = $1
order by partition, generation desc

-- name: first_seen
insert into consumed_offsets (topic, generation, partition, topic_id)
values ($1, 0, $2, $3)
on conflict do nothing

-- name: learn_topic_id
update consumed_offsets set topic_id = $4
where topic = $1 and generation = $2 and partition = $3 and topic_id is null

-- name: fence
-- Lock in the order of the keys, so that two writers never wait in a ring; move only what stands
-- where we left it.
with wanted as (
    select * from unnest($1::text[], $2::integer[], $3::integer[], $4::bigint[], $5::bigint[],
                         $6::bytea[])
        as w (topic, generation, partition, old_offset, new_offset, new_witness)
), locked as (
    select c.topic, c.generation, c.partition
    from consumed_offsets as c
    join wanted as w using (topic, generation, partition)
    order by c.topic, c.partition, c.generation
    for update of c
)
update consumed_offsets as c
set next_offset = w.new_offset, witness = w.new_witness
from wanted as w
join locked as l using (topic, generation, partition)
where c.topic = w.topic and c.generation = w.generation and c.partition = w.partition
  and c.next_offset = w.old_offset

-- name: newer_generation
-- A log that was replaced takes no more: whoever still holds records of it comes too late.
select exists (
    select from consumed_offsets as c
    join unnest($1::text[], $2::integer[], $3::integer[]) as w (topic, generation, partition)
      on c.topic = w.topic and c.partition = w.partition and c.generation > w.generation
)

-- name: skip
update consumed_offsets set next_offset = $5, witness = null
where topic = $1 and generation = $2 and partition = $3 and next_offset = $4

-- name: new_generation
insert into consumed_offsets (topic, generation, partition, topic_id)
values ($1, $2, $3, $4)
on conflict do nothing

-- name: book_gap
insert into offset_gaps (topic, generation, partition, first_offset, next_offset, cause)
values ($1, $2, $3, $4, $5, $6)
returning gap_id

-- name: acknowledge_gaps
-- The first parameter null: all that wait for it.
with acknowledged as (
    update offset_gaps
    set acknowledged_at = now(), acknowledged_by = $2, note = $3
    where acknowledged_at is null and ($1::bigint[] is null or gap_id = any($1))
    returning gap_id, topic, generation, partition, first_offset, next_offset, cause, noticed_at,
              acknowledged_at, acknowledged_by, note
)
select * from acknowledged order by gap_id

-- name: gaps
select gap_id, topic, generation, partition, first_offset, next_offset, cause, noticed_at,
       acknowledged_at, acknowledged_by, note
from offset_gaps
order by gap_id

-- name: batch_id
select nextval('batch_ids')
