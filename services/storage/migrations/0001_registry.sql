-- Devices, sites and deployments: append-only, with validity and the moment each was stored.
-- A change is a new row; what was known at T is the latest row stored at or before T.

create table devices (
    device_id      text collate "C" not null
                   check (device_id ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'),
    valid_from     timestamptz not null,
    stored_at      timestamptz not null default clock_timestamp(),
    device_type    text not null,
    name           text,
    owner          text,
    licence        text,
    station_class  text not null check (station_class in ('regulatory', 'indicative')),
    origin         text not null check (origin in ('real', 'simulated', 'recorded')),
    data_from      timestamptz not null, -- older readings are refused as too_old
    expected_from  timestamptz,          -- silence is an alarm from here on; null: never
    primary key (device_id, valid_from, stored_at)
);
create index devices_stored_at on devices (stored_at);

create view current_devices as
select distinct on (device_id)
    device_id, valid_from, stored_at, device_type, name, owner, licence, station_class, origin,
    data_from, expected_from
from devices
where valid_from <= now()
order by device_id, valid_from desc, stored_at desc;

create table sites (
    site_id       text not null check (site_id <> ''),
    valid_from    timestamptz not null,
    stored_at     timestamptz not null default clock_timestamp(),
    name          text not null,
    latitude      double precision check (latitude between -90 and 90),
    longitude     double precision check (longitude between -180 and 180),
    altitude_m    double precision,
    area          text,
    road_segment  text,
    primary key (site_id, valid_from, stored_at)
);

create view current_sites as
select distinct on (site_id)
    site_id, valid_from, stored_at, name, latitude, longitude, altitude_m, area, road_segment
from sites
where valid_from <= now()
order by site_id, valid_from desc, stored_at desc;

create table deployments (
    device_id           text collate "C" not null,
    part                text collate "C" not null default '',
    site_id             text not null,
    valid_from          timestamptz not null,
    valid_to            timestamptz check (valid_to > valid_from),
    stored_at           timestamptz not null default clock_timestamp(),
    height_m            double precision,
    exposure            text,
    expected_interval_s double precision check (expected_interval_s > 0),
    schedule            text,
    firmware            text,
    primary key (device_id, part, valid_from, stored_at)
);

create view current_deployments as
select distinct on (device_id, part)
    device_id, part, site_id, valid_from, valid_to, stored_at, height_m, exposure,
    expected_interval_s, schedule, firmware
from deployments
where valid_from <= now()
order by device_id, part, valid_from desc, stored_at desc;

-- Ingest learns of a change at once; it also asks periodically, since a notification may be missed.
create function notify_registry() returns trigger language plpgsql as $$
begin
    perform pg_notify('citytally_registry', '');
    return null;
end $$;

create trigger devices_changed after insert on devices
for each statement execute function notify_registry();
