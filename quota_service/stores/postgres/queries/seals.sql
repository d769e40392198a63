-- name: last_id
-- The newest id that anybody has drawn; a sequence that nobody has drawn from stands at the first one already.
SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM ledger_entry_ids;

-- name: next_transaction
-- Every transaction that has an id by now has a smaller one.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint;

-- name: oldest_transaction
-- Every transaction with a smaller id has ended.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- name: only_sealer
-- Whether nobody else is sealing; until the transaction ends.
SELECT pg_try_advisory_xact_lock(hashtextextended('ledger seals', 0));

-- name: sealed_to
SELECT last_id FROM ledger_sealed;

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
    UPDATE ledger_sealed SET last_id = $2
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
-- What the ledger has between two ids, as it is now.
SELECT id, ledger_digest(e) AS digest FROM ledger_entries e WHERE organization = $1 AND id > $2 AND id <= $3;

-- name: unsealed
-- Entries beyond an id: how many, and those among them that were written long ago.
SELECT count(*) AS entries, coalesce(array_agg(id ORDER BY id) FILTER (WHERE create_time < now() - $3::interval), '{}') AS old
FROM ledger_entries WHERE organization = $1 AND id > $2;
