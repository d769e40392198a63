-- name: put
-- Keeps a refused entry, unless one of its key is kept or the ledger has its key by now.
INSERT INTO dead_letters (organization, digest, key, reservation, epoch, event, entry, error, tries)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9
WHERE NOT EXISTS (SELECT FROM ledger_keys k WHERE k.organization = $1 AND k.key = $3)
ON CONFLICT (organization, digest) DO NOTHING
RETURNING id;

-- name: event_of_key
-- Which event told of the kept entry of a key.
SELECT event FROM dead_letters WHERE organization = $1 AND digest = $2;

-- name: counted
-- Entries that the ledger has not, by any of its ways.
SELECT entry FROM dead_letters d
WHERE organization = $1 AND NOT EXISTS (SELECT FROM ledger_keys k WHERE k.organization = d.organization AND k.key = d.key)
ORDER BY id;

-- name: counted_of_reservation
-- The same of one reservation.
SELECT entry FROM dead_letters d
WHERE organization = $1 AND reservation = $2
    AND NOT EXISTS (SELECT FROM ledger_keys k WHERE k.organization = d.organization AND k.key = d.key)
ORDER BY id;

-- name: counted_by_keys
-- The same as far as the deciding store's keys have them.
SELECT entry FROM dead_letters d JOIN store_epochs e USING (organization, epoch)
WHERE organization = $1 AND NOT EXISTS (SELECT FROM ledger_keys k WHERE k.organization = d.organization AND k.key = d.key)
ORDER BY id;

-- name: begin_epoch
-- Keys that are made anew count what the ledger has not, and nothing else.
UPDATE dead_letters d
SET epoch = CASE
    WHEN EXISTS (SELECT FROM ledger_keys k WHERE k.organization = d.organization AND k.key = d.key) THEN 0 ELSE $2
END
WHERE organization = $1;

-- name: list
-- The oldest first.
SELECT * FROM dead_letters WHERE organization = $1 AND id > $2 ORDER BY id LIMIT $3;

-- name: ids
-- The oldest first.
SELECT id FROM dead_letters WHERE organization = $1 ORDER BY id;

-- name: count
-- Of all organizations.
SELECT count(*) FROM dead_letters;

-- name: lock_shared
-- No epoch of the organization begins before the transaction ends.
SELECT pg_advisory_xact_lock_shared(store_epoch_lock($1));

-- name: take
-- For whoever replays it: a second one waits, and finds it gone.
SELECT entry, epoch, event FROM dead_letters WHERE organization = $1 AND id = $2 FOR UPDATE;

-- name: forget
-- The ledger has its key.
DELETE FROM dead_letters WHERE organization = $1 AND id = $2;

-- name: refused_again
-- Why the last try was in vain.
UPDATE dead_letters SET tries = tries + 1, error = $3, try_time = now() WHERE organization = $1 AND id = $2;
