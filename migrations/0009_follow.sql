-- Whoever follows the log is woken by a write, and told up to where it went: an instance that has read so far already, such
-- as the writer's own, need not look again. The channel only wakes: what is missed is found by the next look.

create function notify_changes() returns trigger language plpgsql as $$
begin
    perform pg_notify('termbase_changes', (select max(position) from written)::text);
    return null;
end $$;

create trigger notify after insert on changes referencing new table as written
    for each statement execute function notify_changes();

-- Which database the log was last written in. A restored one is another: what was told of the log after the backup is not in
-- it, so it begins another log when it is first served.
alter table log_head add column place text;
