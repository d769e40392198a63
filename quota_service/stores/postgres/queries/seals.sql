-- name: last_id
-- The newest id that anybody has drawn; a sequence that nobody has drawn from stands at the first one already.
SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM ledger_entry_ids;

-- name: next_transaction
-- Every transaction that had an id before this one has a smaller one. (The xmax of a snapshot would not do: it is next to the newest one
-- that has ended, and others may be under way with greater ids.)
SELECT pg_current_xact_id()::text::bigint;

-- name: oldest_transaction
-- Every transaction with a smaller id has ended. The one that took the next id has itself, so this gets there.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- name: only_sealer
-- Whether nobody else is sealing; until the transaction ends.
SELECT pg_try_advisory_xact_lock(hashtextextended('ledger seals', 0));

-- name: sealed_to
SELECT last_id FROM ledger_sealed;

-- name: nothing_new
-- All is sealed that there is.
UPDATE ledger_sealed SET seal_time = now() WHERE last_id >= $1;

-- name: seal
-- Seals the entries after $1 and up to $2, in each organization that has any.
WITH found AS (
    SELECT organization, string_agg(int8send(id) || ledger_digest(e), '' ORDER BY id) AS entries
    FROM ledger_entries e WHERE id > $1 AND id <= $2 GROUP BY organization
), linked AS (
    SELECT f.organization, coalesce(last.sequence, 0) + 1 AS sequence, f.entries, coalesce(last.hash, '') AS previous_hash
    FROM found f LEFT JOIN LATERAL (
        SELECT sequence, hash FROM ledger_seals s WHERE s.organization = f.organization ORDER BY sequence DESC LIMIT 1
    ) last ON true
), moved AS (
    UPDATE ledger_sealed SET last_id = $2, seal_time = now()
)
INSERT INTO ledger_seals (organization, sequence, last_id, entries, previous_hash, hash)
SELECT organization, sequence, $2, entries, previous_hash, seal_hash(previous_hash, organization, sequence, $2, entries) FROM linked;

-- name: seals_from
-- Some that follow one another, each with the hash that it must have: until they have $3 entries, and at most 1,000.
SELECT s.sequence, s.last_id, s.entries, s.previous_hash, s.hash,
    seal_hash(s.previous_hash, s.organization, s.sequence, s.last_id, s.entries) AS digest
FROM (
    SELECT *, sum(length(entries) / 24) OVER (ORDER BY sequence) - length(entries) / 24 AS entries_before
    FROM (SELECT * FROM ledger_seals WHERE organization = $1 AND sequence > $2 ORDER BY sequence LIMIT 1000) next
) s WHERE s.entries_before < $3 ORDER BY s.sequence;

-- name: one_seal
SELECT last_id, hash FROM ledger_seals WHERE organization = $1 AND sequence = $2;

-- name: end_of_seals
SELECT sequence, hash FROM ledger_seals WHERE organization = $1 ORDER BY sequence DESC LIMIT 1;

-- name: digests
-- What the ledger has between two ids, as it is now. What it has twice has a digest like no other.
SELECT id, string_agg(ledger_digest(e), '') AS digest
FROM ledger_entries e WHERE organization = $1 AND id > $2 AND id <= $3 GROUP BY id;

-- name: unsealed
-- Entries beyond an id and the newest seal: how many, as far as anybody cares, and some of those that the sealer has passed or that
-- nobody can have written. One statement: a seal and how far the sealer is change together.
WITH sealed AS (
    SELECT greatest($2, (SELECT s.last_id FROM ledger_seals s WHERE s.organization = $1 ORDER BY s.sequence DESC LIMIT 1)) AS id
)
SELECT
    (SELECT count(*) FROM (
        SELECT FROM ledger_entries e WHERE e.organization = $1 AND e.id > (SELECT id FROM sealed) LIMIT 1000000
    ) beyond) AS entries,
    array(
        (SELECT e.id FROM ledger_entries e
            WHERE e.organization = $1 AND e.id > (SELECT id FROM sealed) AND e.id <= (SELECT last_id FROM ledger_sealed)
            ORDER BY e.id LIMIT $3)
        UNION ALL
        (SELECT e.id FROM ledger_entries e
            WHERE e.organization = $1 AND e.id > greatest((SELECT id FROM sealed), (SELECT last_value FROM ledger_entry_ids))
            ORDER BY e.id LIMIT $3)
    ) AS strays;

-- name: below_one
-- Ids begin at 1.
SELECT id FROM ledger_entries WHERE organization = $1 AND id < 1 ORDER BY id LIMIT $2;
