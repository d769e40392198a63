-- name: lock_trail
-- Nobody else goes on with the organization's trail until the transaction ends. The last lock that any transaction takes.
SELECT pg_advisory_xact_lock(hashtextextended('audit trail of ' || $1, 0));

-- name: end_of_trail
-- The newest event, and the time. A statement of its own: it sees what has been committed while the lock was waited for.
SELECT e.sequence, e.hash, clock_timestamp() AS now
FROM (SELECT $1::text AS organization) asked
LEFT JOIN LATERAL (
    SELECT sequence, hash FROM audit_events a WHERE a.organization = asked.organization ORDER BY sequence DESC LIMIT 1
) e ON true;

-- name: append_events
INSERT INTO audit_events (
    organization, sequence, create_time, actor, method, request_id, reason, resource, before, after, previous_hash, hash
)
SELECT * FROM unnest(
    $1::text[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
    $11::bytea[], $12::bytea[]
);

-- name: list_events
-- Newest first. Filters that are empty match everything.
SELECT * FROM audit_events
WHERE organization = $1
    AND ($2 = '' OR actor = $2)
    AND ($3 = '' OR method = $3 OR right(method, length($3) + 1) = '/' || $3)
    AND ($4::text IS NULL OR resource = $4)
    AND ($5::timestamptz IS NULL OR create_time >= $5)
    AND ($6::timestamptz IS NULL OR create_time < $6)
    AND ($7::bigint IS NULL OR sequence < $7)
ORDER BY sequence DESC LIMIT $8;

-- name: events_from
-- In the order in which they happened.
SELECT * FROM audit_events WHERE organization = $1 AND sequence > $2 ORDER BY sequence LIMIT $3;

-- name: events_below_one
-- Sequences begin at 1.
SELECT sequence FROM audit_events WHERE organization = $1 AND sequence < 1 ORDER BY sequence LIMIT $2;

-- name: event_hash
SELECT hash FROM audit_events WHERE organization = $1 AND sequence = $2;
