-- Compression exists in TimescaleDB's community edition only; these are the only statements that
-- the Apache edition skips. Late readings may still be inserted into a compressed chunk (2.18.1 on).

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
        execute format(
            'select add_compression_policy(%L, interval ''30 days'')', kind || '_readings');
    end loop;
end $$;
