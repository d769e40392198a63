-- name: add_denials
-- Adds up what the replicas have counted. In sorted order, so that nobody waits in a circle.
INSERT INTO denials AS d (
    organization, minute, team, "user", api_key, project, provider, model, reason, source, count, last_message
)
SELECT * FROM unnest(
    $1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::smallint[],
    $10::text[], $11::bigint[], $12::text[]
) AS counted (organization, minute, team, "user", api_key, project, provider, model, reason, source)
ORDER BY organization COLLATE "C", minute, team COLLATE "C", "user" COLLATE "C", api_key COLLATE "C", project COLLATE "C",
    provider COLLATE "C", model COLLATE "C", reason, source COLLATE "C"
ON CONFLICT (organization, minute, team, "user", api_key, project, provider, model, reason, source) DO UPDATE SET
    count = d.count + excluded.count, last_message = excluded.last_message;

-- name: list_denials
-- The newest minute first. Filters that are empty match everything; so do teams ($15) that are NULL.
SELECT * FROM denials
WHERE organization = $1
    AND ($2 = '' OR team = $2)
    AND ($3 = '' OR "user" = $3)
    AND ($4 = '' OR api_key = $4)
    AND ($5 = '' OR project = $5)
    AND ($6 = '' OR provider = $6)
    AND ($7 = '' OR model = $7)
    AND ($8::smallint IS NULL OR reason = $8)
    AND ($9 = '' OR source = $9)
    AND ($10::timestamptz IS NULL OR minute >= $10)
    AND ($11::timestamptz IS NULL OR minute < $11)
    AND ($12::timestamptz IS NULL OR (minute, id) < ($12, $13::bigint))
    AND ($15::text[] IS NULL OR team = ANY ($15))
ORDER BY minute DESC, id DESC LIMIT $14;

-- name: drop_old_denials
-- They are statistics of the last month.
DELETE FROM denials WHERE minute < now() - interval '31 days';
