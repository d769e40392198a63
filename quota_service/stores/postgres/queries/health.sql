-- name: facts
-- What the server says of itself to anybody. The clock is told by its own statement's beginning, not the transaction's.
SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS is_standby,
    current_setting('fsync')::boolean AS fsync, current_setting('full_page_writes')::boolean AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit, current_setting('max_connections')::int AS connections_max,
    (SELECT sum(numbackends) FROM pg_stat_database)::bigint AS connections_used,
    (SELECT bool_or(has_table_privilege(name, 'UPDATE, DELETE, TRUNCATE'))
        FROM unnest(ARRAY['ledger_entries', 'ledger_keys', 'ledger_seals', 'audit_events']) AS name) AS may_rewrite,
    (SELECT extract(epoch FROM now() - seal_time) * 1000 FROM ledger_sealed)::bigint AS sealed_ms,
    clock_timestamp() AS now;

-- name: missing_partitions
-- Of the ledger, for this month and the next one.
SELECT part FROM (
    SELECT 'ledger_entries_' || to_char(month, 'YYYY_MM') AS part
    FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'), date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month',
        interval '1 month') AS month
) wanted WHERE to_regclass(part) IS NULL ORDER BY part;

-- name: organizations
-- Every organization with its epoch and what its keys have not, by id.
SELECT o.id AS organization, coalesce(e.epoch, 0) AS epoch, coalesce(e.broken, false) AS broken,
    coalesce(p.pending, 0) AS pending, coalesce(extract(epoch FROM now() - p.since) * 1000, 0)::bigint AS pending_ms,
    coalesce(d.dead_letters, 0) AS dead_letters
FROM organizations o
LEFT JOIN store_epochs e ON e.organization = o.id
LEFT JOIN (
    SELECT organization, count(*) AS pending, min(create_time) AS since FROM pending_applications WHERE NOT applied GROUP BY organization
) p ON p.organization = o.id
LEFT JOIN (SELECT organization, count(*) AS dead_letters FROM dead_letters GROUP BY organization) d ON d.organization = o.id
ORDER BY o.id;
