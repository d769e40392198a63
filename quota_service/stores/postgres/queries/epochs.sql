-- name: begin
-- Takes the locks of some organizations (shared) and reservations. Returns their epochs, and which of the reservations have pending applications.
SELECT organization, epoch, contested FROM begin_ledger_write($1::text[], $2::text[], $3::text[], $4::boolean[]);

-- name: add_pending
-- What the deciding store's keys have not.
INSERT INTO pending_applications (organization, key, reservation, entry, epoch)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bigint[])
    AS pending (organization, key, reservation, entry, epoch)
ORDER BY organization COLLATE "C", key COLLATE "C"
ON CONFLICT DO NOTHING;

-- name: pending_of_keys
-- Which of some keys are or were pending, with what, and for the keys of which epoch.
SELECT organization, key, entry, epoch FROM pending_applications
JOIN unnest($1::text[], $2::text[]) AS wanted (organization, key) USING (organization, key);

-- name: applied
-- The deciding store's keys have these.
UPDATE pending_applications p SET applied = true
FROM unnest($1::text[], $2::text[]) AS done (organization, key)
WHERE p.organization = done.organization AND p.key = done.key AND NOT p.applied;

-- name: mark_broken
-- The keys of these organizations must be made anew.
UPDATE store_epochs SET broken = true WHERE organization = ANY($1::text[]) AND NOT broken;

-- name: charges_of_reservations
-- What the ledger has charged to some reservations.
SELECT organization, reservation,
    sum(charged_cost_micros)::bigint AS charged_cost_micros, sum(charged_tokens)::bigint AS charged_tokens,
    sum(charged_requests)::bigint AS charged_requests,
    sum(overrun_cost_micros)::bigint AS overrun_cost_micros, sum(overrun_tokens)::bigint AS overrun_tokens,
    sum(overrun_requests)::bigint AS overrun_requests, sum(exact_cost_usd) AS exact_cost_usd
FROM ledger_entries JOIN unnest($1::text[], $2::text[]) AS wanted (organization, reservation) USING (organization, reservation)
WHERE reservation <> ''
GROUP BY organization, reservation;

-- name: pending
-- The oldest entries that an organization's keys have not yet, for which epoch that is so, and whether the ledger still sees their
-- reservation open.
SELECT p.key, p.entry, EXISTS (
    SELECT FROM open_holds h WHERE h.organization = p.organization AND h.reservation = p.reservation
) AS is_open, coalesce((SELECT e.epoch FROM store_epochs e WHERE e.organization = p.organization), 0) AS epoch
FROM pending_applications p WHERE p.organization = $1 AND NOT p.applied ORDER BY p.create_time, p.key LIMIT $2;

-- name: epochs
-- Every organization's epoch, whether it must be replaced, and whether something is to be brought to its keys.
SELECT organization, epoch, broken, EXISTS (
    SELECT FROM pending_applications p WHERE p.organization = e.organization AND NOT p.applied
) AS is_pending
FROM store_epochs e;

-- name: epoch
-- One organization's epoch, and whether there is or was the organization.
SELECT coalesce(e.epoch, 0) AS epoch, coalesce(e.broken, false) AS broken,
    e.epoch IS NOT NULL OR EXISTS (SELECT FROM organizations o WHERE o.id = named) AS is_known
FROM (SELECT $1::text AS named) n LEFT JOIN store_epochs e ON e.organization = named;

-- name: lock
-- Waits until no transaction of the organization's ledger is under way, and keeps others waiting.
SELECT pg_advisory_xact_lock(store_epoch_lock($1));

-- name: next_epoch
-- Begins an epoch.
INSERT INTO store_epochs AS e (organization, epoch) VALUES ($1, nextval('store_epoch_numbers'))
ON CONFLICT (organization) DO UPDATE SET epoch = excluded.epoch, broken = false, change_time = now()
RETURNING epoch;

-- name: all_applied
-- Keys that are made anew have everything that the ledger has.
UPDATE pending_applications SET applied = true WHERE organization = $1 AND NOT applied;

-- name: live_balances
-- Where the ledger sees the windows that count. Times in ms.
SELECT budget, each_value, (extract(epoch FROM window_start) * 1000)::bigint, (extract(epoch FROM window_end) * 1000)::bigint,
    spent_cost_micros, spent_tokens, spent_requests, overrun_cost_micros, overrun_tokens, overrun_requests,
    added_cost_micros, added_tokens, added_requests, moved_cost_micros, moved_tokens, moved_requests
FROM window_balances WHERE organization = $1 AND (window_end IS NULL OR window_end > $2);

-- name: open_holds
-- The reservations that the ledger sees open, also those whose time is over: the deciding store is to say so.
SELECT kept, hold FROM open_holds WHERE organization = $1;

-- name: contested
-- The reservations of which something was settled in the ledger alone: no state that the deciding store tells of may have all charges.
SELECT DISTINCT reservation FROM pending_applications WHERE organization = $1 AND reservation <> '';

-- name: known_keys
-- Which of some keys an organization's ledger has.
SELECT key FROM ledger_keys WHERE organization = $1 AND key = ANY($2::text[]);

-- name: forget_applied
-- What was brought to the keys long ago.
DELETE FROM pending_applications WHERE applied AND create_time < now() - interval '26 hours';

-- name: version
-- Of an organization's configuration.
SELECT version FROM organizations WHERE id = $1;
