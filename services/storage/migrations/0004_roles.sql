-- Roles of least privilege. They are made without a password; `citytally migrate` sets the ones
-- whose secret it finds. Roles belong to the whole server, so they may be there already.

do $$
declare role_name text;
begin
    foreach role_name in array
        array['citytally_ingest', 'citytally_derive', 'citytally_read', 'citytally_operate']
    loop
        if not exists (select from pg_roles where rolname = role_name) then
            begin
                execute format('create role %I login', role_name);
            exception when duplicate_object or unique_violation then
                null; -- another database of this server was migrated at the same moment
            end;
        end if;
    end loop;
end $$;

revoke create on schema public from public;
grant usage on schema public
    to citytally_ingest, citytally_derive, citytally_read, citytally_operate;
grant select on all tables in schema public
    to citytally_ingest, citytally_derive, citytally_read, citytally_operate;
alter default privileges in schema public grant select on tables
    to citytally_ingest, citytally_derive, citytally_read, citytally_operate;

-- ingest stores readings and keeps the books; it deletes nothing and registers nobody.
grant insert, update on consumed_offsets, ledger_messages, ledger_readings, stored_rows,
    broadband_readings, traffic_readings, environmental_readings, ledger_quarantine,
    quarantine_items to citytally_ingest;
grant insert on offset_gaps, batches, changed_hours, reading_revisions, quarantine_payloads,
    quarantine_messages to citytally_ingest;
grant update (message_id) on quarantine_messages to citytally_ingest; -- to lock a row
grant usage on sequence batch_ids, quarantine_message_ids to citytally_ingest;

-- derive works changed hours off.
grant delete on changed_hours to citytally_derive;

-- operate does what a person does: registering, mending, acknowledging.
grant insert on devices, sites, deployments to citytally_operate;
grant insert, update on ledger_messages, ledger_readings, stored_rows, broadband_readings,
    traffic_readings, environmental_readings, ledger_quarantine, quarantine_items
    to citytally_operate;
grant insert on batches, changed_hours, reading_revisions, quarantine_payloads to citytally_operate;
grant update (message_id) on quarantine_messages to citytally_operate; -- to lock a row
grant update (acknowledged_at, acknowledged_by, note) on offset_gaps to citytally_operate;
grant usage on sequence batch_ids to citytally_operate;
