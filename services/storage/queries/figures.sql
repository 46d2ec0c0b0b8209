-- name: messages
-- Every message that was consumed or lost, by what became of it. Counters only, no row is counted.
select (select coalesce(sum(next_offset - first_offset), 0) from consumed_offsets)::bigint
           as received,
       (select coalesce(sum(next_offset - first_offset), 0) from offset_gaps)::bigint as lost,
       coalesce(sum(n) filter (where outcome = 'decoded'), 0)::bigint as decoded,
       coalesce(sum(n) filter (where outcome = 'undecodable'), 0)::bigint as undecodable,
       coalesce(sum(n) filter (where outcome = 'liveness'), 0)::bigint as liveness
from ledger_messages
where source not in ('quarantine', 'redecode')

-- name: undecodable_again
-- Undecodable messages of all sources: a replay may refuse a message for another reason.
select coalesce(sum(n), 0)::bigint from ledger_messages where outcome = 'undecodable'

-- name: rows
select kind, sum(n)::bigint as n from stored_rows group by kind

-- name: unacknowledged_gaps
select count(*) from offset_gaps where acknowledged_at is null

-- name: messages_consumed
select coalesce(sum(next_offset - first_offset), 0)::bigint from consumed_offsets
