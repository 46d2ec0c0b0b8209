-- name: newest_batches
-- By the index, so that it may be asked a hundred times a second.
select distinct batch_id
from (select batch_id from batches order by batch_id desc limit 256) as newest

-- name: batches_of_rows
select batch_id, device_id, (extract(epoch from time) * 1000)::bigint as time_ms
from {table}
where time >= to_timestamp($1::bigint / 1000.0) and time < to_timestamp($2::bigint / 1000.0)
