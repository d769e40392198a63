-- name: newest_entry
-- Ids that are drawn from now on are higher.
SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM ledger_entry_ids;

-- name: balances
-- Where the ledger sees some windows. Times in ms.
SELECT b.budget, b.each_value, (extract(epoch FROM b.window_start) * 1000)::bigint, (extract(epoch FROM b.window_end) * 1000)::bigint,
    b.spent_cost_micros, b.spent_tokens, b.spent_requests, b.overrun_cost_micros, b.overrun_tokens, b.overrun_requests,
    b.added_cost_micros, b.added_tokens, b.added_requests, b.moved_cost_micros, b.moved_tokens, b.moved_requests
FROM window_balances b
JOIN unnest($2::text[], $3::text[], $4::timestamptz[]) AS w (budget, each_value, window_start) USING (budget, each_value, window_start)
WHERE b.organization = $1;

-- name: known_keys
-- Which of some keys the ledger has, or has refused for good.
SELECT key FROM ledger_keys WHERE organization = $1 AND key = ANY($2::text[])
UNION SELECT key FROM dead_letters WHERE organization = $1 AND key = ANY($2::text[]);

-- name: newer_entries
-- Entries after an id that charge or change windows, and where they ran.
SELECT e.*, k.origin FROM ledger_entries e JOIN ledger_keys k ON k.organization = e.organization AND k.key = e.key
WHERE e.organization = $1 AND e.id > $2 AND e.type IN ('COMMIT', 'RECORD', 'ADJUST', 'REALLOCATE', 'ROLLOVER');

-- name: pending
-- Entries that an organization's keys have not.
SELECT entry FROM pending_applications WHERE organization = $1 AND NOT applied;

-- name: open_holds
-- The reservations that the ledger sees open.
SELECT kept, hold FROM open_holds WHERE organization = $1;

-- name: open_among
-- Those of some reservations that the ledger sees open.
SELECT reservation FROM open_holds WHERE organization = $1 AND reservation = ANY($2::text[]);

-- name: dead_reservations
-- Reservations of which the ledger refuses something.
SELECT DISTINCT reservation FROM dead_letters WHERE organization = $1 AND reservation <> '';
