-- name: claim_keys
-- Claims the keys of a batch and draws the ids of their entries, in the order of the batch; returns those that were free.
-- Keys are taken in sorted order and a key that another transaction is writing is waited for, so nobody waits in a circle.
WITH batch AS (
    SELECT organization, key, content_hash, origin, nextval('ledger_entry_ids') AS id
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
        WITH ORDINALITY AS claim (organization, key, content_hash, origin, position)
    ORDER BY position
)
INSERT INTO ledger_keys (organization, key, content_hash, origin, entry_id, create_time)
SELECT organization, key, content_hash, origin, id, now() FROM batch ORDER BY organization COLLATE "C", key COLLATE "C"
ON CONFLICT DO NOTHING
RETURNING organization, key, entry_id, create_time;

-- name: written_before
-- What had been written under some keys. A key names the month of its entry as well, so that one partition is read. Months that are
-- dropped leave their keys.
SELECT k.organization, k.key, k.content_hash, k.origin, e.type
FROM ledger_keys k
JOIN unnest($1::text[], $2::text[]) AS lost (organization, key) ON k.organization = lost.organization AND k.key = lost.key
LEFT JOIN ledger_entries e ON e.organization = k.organization AND e.id = k.entry_id AND e.create_time = k.create_time;

-- name: write_new
-- Everything at once, where all is as it mostly is; otherwise nothing, and NULL.
SELECT write_new_entries(
    $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
    $7::new_ledger_entry[], $8::open_hold_change[], $9::window_gain[]
);

-- name: change_open_holds
-- Removes, makes or moves forward open holds.
SELECT change_open_holds($1::open_hold_change[]);

-- name: add_balances
-- Adds what a batch charges to its windows, each named once. Returns where they stand.
SELECT * FROM add_balances($1::window_gain[]);

-- name: read_balances
-- The same of windows that a batch had changed before.
SELECT b.organization, b.budget, b.each_value, b.window_start, b.window_end,
    b.spent_cost_micros, b.spent_tokens, b.spent_requests,
    b.added_cost_micros + b.moved_cost_micros AS change_cost_micros, b.added_tokens + b.moved_tokens AS change_tokens,
    b.added_requests + b.moved_requests AS change_requests,
    (SELECT o.version FROM organizations o WHERE o.id = b.organization) AS version
FROM window_balances b
JOIN unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS w (organization, budget, each_value, window_start)
    USING (organization, budget, each_value, window_start);

-- name: entries_of_reservation
-- What the ledger knows of a reservation's state, and what it has charged to it.
SELECT organization, reservation, team, "user", api_key, project, cost_center, tags, windows, hold,
    charged_cost_micros, charged_tokens, charged_requests, exact_cost_usd
FROM ledger_entries
WHERE organization = $1 AND reservation = $2 AND reservation <> '';

-- name: find_entry
-- By its key. The key names the month as well, so that one partition is read.
SELECT e.* FROM ledger_keys k
JOIN ledger_entries e ON e.organization = k.organization AND e.id = k.entry_id AND e.create_time = k.create_time
WHERE k.organization = $1 AND k.key = $2;

-- name: list_entries
-- Newest first. Filters that are empty match everything ($2 is the other list's); so do teams ($15) that are NULL.
SELECT * FROM ledger_entries
WHERE organization = $1 AND $2 = ''
    AND ($3 = '' OR type = $3)
    AND ($4 = '' OR team = $4)
    AND ($5 = '' OR "user" = $5)
    AND ($6 = '' OR api_key = $6)
    AND ($7 = '' OR project = $7)
    AND ($8 = '' OR cost_center = $8)
    AND ($9::jsonb = '{}' OR tags @> $9::jsonb)
    AND ($10::jsonb = '[]' OR windows @> $10::jsonb)
    AND ($11::timestamptz IS NULL OR create_time >= $11)
    AND ($12::timestamptz IS NULL OR create_time < $12)
    AND ($13::bigint IS NULL OR id < $13)
    AND ($15::text[] IS NULL OR team = ANY ($15))
ORDER BY id DESC LIMIT $14;

-- name: list_entries_of_reservation
-- The same for one reservation.
SELECT * FROM ledger_entries
WHERE organization = $1 AND reservation = $2 AND reservation <> ''
    AND ($3 = '' OR type = $3)
    AND ($4 = '' OR team = $4)
    AND ($5 = '' OR "user" = $5)
    AND ($6 = '' OR api_key = $6)
    AND ($7 = '' OR project = $7)
    AND ($8 = '' OR cost_center = $8)
    AND ($9::jsonb = '{}' OR tags @> $9::jsonb)
    AND ($10::jsonb = '[]' OR windows @> $10::jsonb)
    AND ($11::timestamptz IS NULL OR create_time >= $11)
    AND ($12::timestamptz IS NULL OR create_time < $12)
    AND ($13::bigint IS NULL OR id < $13)
    AND ($15::text[] IS NULL OR team = ANY ($15))
ORDER BY id DESC LIMIT $14;
