-- name: one_at_a_time
-- Two registrations at once would both compare with what stood before either of them.
select pg_advisory_xact_lock(hashtext('citytally registry'))

-- name: add_devices
-- A version where the device is new or differs from what is current. The first version holds from
-- the beginning of time, so that readings older than the registration find it; a later one from
-- now, or from when the version before it does: a registration that waited for another one began
-- earlier. data_from only ever moves back by this way: what was once taken stays welcome.
insert into devices (device_id, valid_from, device_type, name, owner, licence, station_class,
                     origin, data_from, expected_from)
select w.device_id,
       case when c.device_id is null then '-infinity' else greatest(now(), c.valid_from) end,
       w.device_type, w.name, w.owner, w.licence, w.station_class, w.origin,
       least(w.data_from, c.data_from, case when w.data_from is null and c.device_id is null
                                            then now() - $10::interval end),
       case when w.origin = 'recorded' then w.expected_from
            else coalesce(w.expected_from, c.expected_from, now()) end
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::timestamptz[], $9::timestamptz[])
    as w (device_id, device_type, name, owner, licence, station_class, origin, data_from,
          expected_from)
left join lateral (
    select * from devices as d
    where d.device_id = w.device_id
    order by d.valid_from desc, d.stored_at desc
    limit 1
) as c on true
where c.device_id is null
   or (w.device_type, w.name, w.owner, w.licence, w.station_class, w.origin)
      is distinct from
      (c.device_type, c.name, c.owner, c.licence, c.station_class, c.origin)
   or w.data_from < c.data_from
   or w.expected_from is distinct from c.expected_from and w.expected_from is not null
order by w.device_id
returning device_id, valid_from = '-infinity' as is_new

-- name: add_sites
insert into sites (site_id, valid_from, name, latitude, longitude, altitude_m, area, road_segment)
select w.site_id,
       case when c.site_id is null then '-infinity' else greatest(now(), c.valid_from) end,
       w.name, w.latitude, w.longitude, w.altitude_m, w.area, w.road_segment
from unnest($1::text[], $2::text[], $3::float8[], $4::float8[], $5::float8[], $6::text[],
            $7::text[])
    as w (site_id, name, latitude, longitude, altitude_m, area, road_segment)
left join lateral (
    select * from sites as s
    where s.site_id = w.site_id
    order by s.valid_from desc, s.stored_at desc
    limit 1
) as c on true
where c.site_id is null
   or (w.name, w.latitude, w.longitude, w.altitude_m, w.area, w.road_segment)
      is distinct from
      (c.name, c.latitude, c.longitude, c.altitude_m, c.area, c.road_segment)
order by w.site_id

-- name: add_deployments
insert into deployments (device_id, part, site_id, valid_from, valid_to, height_m, exposure,
                         expected_interval_s, schedule, firmware)
select w.device_id, w.part, w.site_id, w.valid_from, w.valid_to, w.height_m, w.exposure,
       w.expected_interval_s, w.schedule, w.firmware
from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[],
            $6::float8[], $7::text[], $8::float8[], $9::text[], $10::text[])
    as w (device_id, part, site_id, valid_from, valid_to, height_m, exposure, expected_interval_s,
          schedule, firmware)
left join lateral (
    select * from deployments as d
    where d.device_id = w.device_id and d.part = w.part and d.valid_from = w.valid_from
    order by d.stored_at desc
    limit 1
) as c on true
where c.device_id is null
   or (w.site_id, w.valid_to, w.height_m, w.exposure, w.expected_interval_s, w.schedule,
       w.firmware)
      is distinct from
      (c.site_id, c.valid_to, c.height_m, c.exposure, c.expected_interval_s, c.schedule,
       c.firmware)
order by w.device_id, w.part, w.valid_from

-- name: judged_by_all
select device_id, device_type, data_from, stored_at from current_devices

-- name: judged_by_since
select device_id, device_type, data_from, stored_at
from current_devices
where device_id in (select device_id from devices where stored_at > $1)

-- name: judged_by_ids
select device_id, device_type, data_from, stored_at
from current_devices
where device_id = any($1::text[])

-- name: list
select d.device_id, d.device_type, d.name, d.origin, d.station_class, d.data_from,
       d.expected_from, s.area, s.name as site
from current_devices as d
left join lateral (
    select site_id from current_deployments as p
    where p.device_id = d.device_id and (p.valid_to is null or p.valid_to > now())
    order by p.part
    limit 1
) as p on true
left join current_sites as s using (site_id)
where ($1::text is null or d.origin = $1) and ($2::text is null or d.device_type = $2)
order by d.device_id
limit $3

-- name: versions
select device_id, valid_from, stored_at, device_type, name, owner, licence, station_class, origin,
       data_from, expected_from
from devices
where device_id = $1
order by stored_at desc

-- name: deployments_of
select p.part, p.site_id, p.valid_from, p.valid_to, p.height_m, p.exposure,
       p.expected_interval_s, p.firmware, s.name as site, s.area, s.latitude, s.longitude
from deployments as p
left join current_sites as s using (site_id)
where p.device_id = $1
order by p.part, p.valid_from

-- name: newest_reading
select * from {table} where device_id = $1 order by time desc limit 1

-- name: open_items
select reason, count(*) as n from quarantine_items
where device_id = $1 and state = 'open'
group by reason
order by reason

-- name: count
select origin, count(*) as n from current_devices group by origin order by origin

-- name: current
select device_id, device_type, name, owner, licence, station_class, origin, data_from,
       expected_from
from current_devices
where device_id = any($1::text[])

-- name: current_sites
select site_id, name, latitude, longitude, altitude_m, area, road_segment
from current_sites
where site_id = any($1::text[])

-- name: current_deployments
select device_id, part, site_id, height_m, exposure, expected_interval_s, schedule, firmware
from current_deployments
where device_id = any($1::text[])
