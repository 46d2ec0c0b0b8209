-- Compression exists in TimescaleDB's community edition only; these are the only statements that
-- the Apache edition skips. It is made possible here and left to an operator to schedule
-- (add_compression_policy) beyond the age of the latest data that is still expected: TimescaleDB
-- does not lock rows of compressed chunks, so that a late copy of a compressed reading would be
-- refused with 0A000, and ingest would stop at it.

do $$
declare
    kind text;
begin
    if current_setting('timescaledb.license') <> 'timescale' then
        return;
    end if;
    foreach kind in array array['broadband', 'traffic', 'environmental'] loop
        execute format(
            'alter table %I set (timescaledb.compress, '
            'timescaledb.compress_segmentby = ''device_id, part'', '
            'timescaledb.compress_orderby = ''time'')', kind || '_readings');
    end loop;
end $$;
