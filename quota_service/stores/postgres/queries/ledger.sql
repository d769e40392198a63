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

-- name: change_open_holds
-- Removes (kept NULL), makes (fresh) or moves forward open holds. Rows that exist are locked in sorted order first. One that is
-- gone stays gone, and an older state does not replace a newer one.
WITH batch AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::timestamptz[], $6::boolean[])
        AS change (organization, reservation, kept, progress, expire_time, fresh)
), locked AS MATERIALIZED (
    SELECT h.organization, h.reservation, b.kept, b.progress, b.expire_time
    FROM open_holds h JOIN batch b ON b.organization = h.organization AND b.reservation = h.reservation AND NOT b.fresh
    ORDER BY h.organization, h.reservation
    FOR UPDATE OF h
), removed AS (
    DELETE FROM open_holds h USING locked l
    WHERE h.organization = l.organization AND h.reservation = l.reservation AND l.kept IS NULL
), moved AS (
    UPDATE open_holds h SET kept = l.kept, hold = NULL, progress = l.progress, expire_time = l.expire_time FROM locked l
    WHERE h.organization = l.organization AND h.reservation = l.reservation AND h.progress < l.progress
)
INSERT INTO open_holds (organization, reservation, kept, progress, expire_time)
SELECT organization, reservation, kept, progress, expire_time FROM batch WHERE fresh ORDER BY organization, reservation;

-- name: add_balances
-- Adds what a batch charges to its windows and how it changes their limits, each named once, in sorted order. A window's end is
-- the latest that was named. Returns where the windows stand, and the version of the configuration under which to look at them.
INSERT INTO window_balances AS b (
    organization, budget, each_value, window_start, window_end,
    spent_cost_micros, spent_tokens, spent_requests, overrun_cost_micros, overrun_tokens, overrun_requests,
    added_cost_micros, added_tokens, added_requests, moved_cost_micros, moved_tokens, moved_requests
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[],
    $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
    $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[]
) AS charge (organization, budget, each_value, window_start)
ORDER BY organization COLLATE "C", budget COLLATE "C", each_value COLLATE "C", window_start
ON CONFLICT (organization, budget, each_value, window_start) DO UPDATE SET
    window_end = CASE
        WHEN b.window_end IS NULL OR excluded.window_end IS NULL THEN NULL
        ELSE greatest(b.window_end, excluded.window_end)
    END,
    spent_cost_micros = b.spent_cost_micros + excluded.spent_cost_micros,
    spent_tokens = b.spent_tokens + excluded.spent_tokens,
    spent_requests = b.spent_requests + excluded.spent_requests,
    overrun_cost_micros = b.overrun_cost_micros + excluded.overrun_cost_micros,
    overrun_tokens = b.overrun_tokens + excluded.overrun_tokens,
    overrun_requests = b.overrun_requests + excluded.overrun_requests,
    added_cost_micros = b.added_cost_micros + excluded.added_cost_micros,
    added_tokens = b.added_tokens + excluded.added_tokens,
    added_requests = b.added_requests + excluded.added_requests,
    moved_cost_micros = b.moved_cost_micros + excluded.moved_cost_micros,
    moved_tokens = b.moved_tokens + excluded.moved_tokens,
    moved_requests = b.moved_requests + excluded.moved_requests
RETURNING b.organization, b.budget, b.each_value, b.window_start, b.window_end,
    b.spent_cost_micros, b.spent_tokens, b.spent_requests,
    b.added_cost_micros + b.moved_cost_micros AS change_cost_micros, b.added_tokens + b.moved_tokens AS change_tokens,
    b.added_requests + b.moved_requests AS change_requests,
    (SELECT o.version FROM organizations o WHERE o.id = b.organization) AS version;

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
