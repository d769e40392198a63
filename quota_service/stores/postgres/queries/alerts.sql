-- name: fire
-- Keeps the alerts of steps that have not told yet. In sorted order, so that nobody waits in a circle.
INSERT INTO alerts (
    organization, budget, each_value, window_start, window_end, at_percent, action, target, repeat, meter, mode,
    "limit", spent, held, display_name, time_zone, recipients, subject
)
SELECT organization, budget, each_value, window_start, window_end, at_percent, action, target, 0, meter, mode,
    "limit", spent, held, display_name, time_zone, recipients, subject
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::integer[], $7::text[], $8::text[],
    $9::smallint[], $10::smallint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::text[], $15::text[], $16::jsonb[],
    $17::jsonb[]
) AS alert (
    organization, budget, each_value, window_start, window_end, at_percent, action, target,
    meter, mode, "limit", spent, held, display_name, time_zone, recipients, subject
)
ORDER BY organization COLLATE "C", budget COLLATE "C", each_value COLLATE "C", window_start, at_percent, action, target COLLATE "C"
ON CONFLICT DO NOTHING;

-- name: remind
-- Keeps the next reminder ($18: the cooldown) of a step, unless the window has just had an alert. Of replicas that do so at once,
-- one gets the number. Returns in how many milliseconds the next may come.
WITH last AS (
    SELECT max(create_time) AS at,
        coalesce(max(repeat) FILTER (WHERE at_percent = $6 AND action = $7 AND target = $8), -1) AS repeat
    FROM alerts WHERE organization = $1 AND budget = $2 AND each_value = $3 AND window_start = $4
), kept AS (
    INSERT INTO alerts (
        organization, budget, each_value, window_start, window_end, at_percent, action, target, repeat, meter, mode,
        "limit", spent, held, display_name, time_zone, recipients, subject
    )
    SELECT $1, $2, $3, $4, $5::timestamptz, $6, $7, $8, last.repeat + 1, $9::smallint, $10::smallint, $11::bigint, $12::bigint,
        $13::bigint, $14::text, $15::text, $16::jsonb, $17::jsonb
    FROM last WHERE coalesce(last.at + $18::interval <= now(), true)
    ON CONFLICT DO NOTHING
    RETURNING create_time
)
SELECT ceil(extract(epoch FROM coalesce((SELECT create_time FROM kept), last.at) + $18::interval - now()) * 1000)::bigint
FROM last;

-- name: list_alerts
-- Newest first. Filters that are empty match everything; so do budgets ($7) that are NULL.
SELECT * FROM alerts
WHERE organization = $1
    AND ($2 = '' OR budget = $2)
    AND ($3::timestamptz IS NULL OR create_time >= $3)
    AND ($4::timestamptz IS NULL OR create_time < $4)
    AND ($5::bigint IS NULL OR id < $5)
    AND ($7::text[] IS NULL OR budget = ANY ($7))
ORDER BY id DESC LIMIT $6;

-- name: claim_without_details
-- The oldest alert that lacks details and that no other worker is at.
SELECT * FROM alerts WHERE details IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: top_consumers
-- Who spent most in a window ($3), in one meter ($4), since it began ($2). However much an organization spends, only its newest
-- 200,000 charges are looked at.
WITH charges AS (
    SELECT * FROM ledger_entries
    WHERE organization = $1 AND create_time >= $2 AND type IN ('COMMIT', 'RECORD')
    ORDER BY id DESC LIMIT 200000
), amounts AS (
    SELECT CASE WHEN "user" <> '' THEN 3 WHEN api_key <> '' THEN 4 WHEN team <> '' THEN 2 ELSE 1 END AS dimension,
        coalesce(nullif("user", ''), nullif(api_key, ''), nullif(team, ''), organization) AS id,
        CASE $4::integer WHEN 0 THEN charged_cost_micros WHEN 1 THEN charged_tokens ELSE charged_requests END AS amount
    FROM charges WHERE windows @> $3::jsonb
)
SELECT dimension, id, sum(amount)::bigint AS amount FROM amounts
GROUP BY dimension, id HAVING sum(amount) > 0 ORDER BY amount DESC, dimension, id LIMIT 5;

-- name: fill_details
-- An alert's details are written once.
UPDATE alerts SET details = $3 WHERE organization = $1 AND id = $2;
