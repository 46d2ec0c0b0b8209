-- name: offsets
-- One row a log. A source that was counted or lost and never consumed stands here too.
with consumed as (
    select concat_ws('/', topic, generation, partition) as source,
           next_offset - first_offset as received
    from consumed_offsets
), counted as (
    select source,
           coalesce(sum(n) filter (where outcome = 'decoded'), 0) as decoded,
           coalesce(sum(n) filter (where outcome = 'undecodable'), 0) as undecodable,
           coalesce(sum(n) filter (where outcome = 'liveness'), 0) as liveness
    from ledger_messages
    where source not in ('quarantine', 'redecode')
    group by source
), missed as (
    select concat_ws('/', topic, generation, partition) as source,
           coalesce(sum(next_offset - first_offset), 0) as lost
    from offset_gaps
    group by 1
), joined as (
    select source, coalesce(received, 0) as received, coalesce(decoded, 0)::bigint as decoded,
           coalesce(undecodable, 0)::bigint as undecodable,
           coalesce(liveness, 0)::bigint as liveness, coalesce(lost, 0)::bigint as lost
    from consumed full join counted using (source) full join missed using (source)
)
select source, received as "left", decoded + undecodable + liveness + lost as "right",
       decoded, undecodable, liveness, lost
from joined
order by source

-- name: readings
select source, coalesce(sum(n) filter (where outcome = 'decoded'), 0)::bigint as "left",
       coalesce(sum(n) filter (where outcome in ('written', 'merged', 'duplicate', 'corrected',
                                                 'quarantined')), 0)::bigint as "right"
from ledger_readings
group by source
order by source

-- name: readings_by_outcome
select outcome, sum(n)::bigint as n from ledger_readings group by outcome

-- name: quarantine
-- What was refused, what was made of it, and what became of that: by the source that refused it.
with refused as (
    select source, sum(n) as n
    from (
        select source, n from ledger_messages where outcome = 'undecodable'
        union all
        select source, n from ledger_readings where outcome = 'quarantined'
    ) as counted
    group by source
), kept as (
    select source, coalesce(sum(n) filter (where state = 'made'), 0) as made,
           coalesce(sum(n) filter (where state <> 'made'), 0) as accounted
    from ledger_quarantine
    group by source
)
select source, coalesce(refused.n, 0)::bigint as "left", coalesce(made, 0)::bigint as made,
       coalesce(accounted, 0)::bigint as "right"
from refused full join kept using (source)
order by source

-- name: quarantine_by_state
select state, sum(n)::bigint as n from ledger_quarantine group by state

-- name: open_by_reason
select reason, count(*) as n from quarantine_items where state = 'open' group by reason
order by reason

-- name: recount_rows
-- The rows that are really there, by the UTC day of the event, beside what the books say.
with found as (
    select (time at time zone 'UTC')::date as day, count(*) as n
    from {table}
    where time >= coalesce($2::date, '-infinity')::timestamp at time zone 'UTC'
    group by 1
), booked as (
    select day, sum(n) as n
    from stored_rows
    where kind = $1 and day >= coalesce($2::date, '-infinity')
    group by day
)
select $1::text as kind, day::text as day, coalesce(found.n, 0) as "left",
       coalesce(booked.n, 0)::bigint as "right"
from found full join booked using (day)
order by day

-- name: recount_stored
-- Over all days: what the books hold is what was written less what was taken out on purpose.
with stored as (
    select kind, sum(n) as n from stored_rows group by kind
), written as (
    select kind, sum(case outcome when 'written' then n else -n end) as n
    from ledger_readings
    where outcome in ('written', 'withdrawn')
    group by kind
), removed as (
    select kind, sum(n) as n from removed_rows group by kind
)
select kind, 'all' as day, coalesce(stored.n, 0)::bigint as "left",
       (coalesce(written.n, 0) - coalesce(removed.n, 0))::bigint as "right"
from stored full join written using (kind) full join removed using (kind)
order by kind

-- name: removed_by_cause
select cause, sum(n)::bigint as n from removed_rows group by cause

-- name: recount_quarantine
-- The items that are really there, by source and state, beside the counters.
with found as (
    select source, state, count(*) as n from quarantine_items group by source, state
), booked as (
    select source, state, n from ledger_quarantine where state <> 'made'
)
select source, state, coalesce(found.n, 0) as "left", coalesce(booked.n, 0) as "right"
from found full join booked using (source, state)
order by source, state

-- name: without_time_limit
-- A recount of years takes minutes, and holds nobody up.
set local statement_timeout = 0

-- name: qos0
select coalesce(sum(qos0), 0)::bigint as n from batches

-- name: positions
-- Where each partition goes on, in its newest generation.
select distinct on (topic, partition) topic, partition, generation, next_offset
from consumed_offsets
order by topic, partition, generation desc
