-- name: latest_balance
-- Where a counter stands in the latest of some windows.
SELECT window_start, spent_cost_micros, spent_tokens, spent_requests, overrun_cost_micros, overrun_tokens, overrun_requests,
    added_cost_micros, added_tokens, added_requests, moved_cost_micros, moved_tokens, moved_requests
FROM window_balances
WHERE organization = $1 AND budget = $2 AND each_value = $3 AND window_start = ANY ($4::timestamptz[])
ORDER BY window_start DESC LIMIT 1;

-- name: lock_balances
-- A budget's counters in a window. What is about to be charged to them waits, so that it comes on top of what is set now.
SELECT each_value, spent_cost_micros, spent_tokens, spent_requests, overrun_cost_micros, overrun_tokens, overrun_requests
FROM window_balances WHERE organization = $1 AND budget = $2 AND window_start = $3
ORDER BY each_value FOR UPDATE;

-- name: spend_by_model
-- What entries charged since an instant ($10; their month cannot be earlier than that of $11), as far as their subjects match, by
-- provider, model and the dimension $8 (a tag's name: $9). A reservation counts when it was made, a Record when it occurred.
SELECT provider, model,
    CASE $8
        WHEN 'TEAM' THEN team
        WHEN 'USER' THEN "user"
        WHEN 'API_KEY' THEN api_key
        WHEN 'PROJECT' THEN project
        WHEN 'COST_CENTER' THEN cost_center
        WHEN 'TAG' THEN coalesce(tags ->> $9, '')
        ELSE ''
    END AS each_value,
    sum(charged_cost_micros)::bigint AS spent_cost_micros, sum(charged_tokens)::bigint AS spent_tokens,
    sum(charged_requests)::bigint AS spent_requests,
    sum(overrun_cost_micros)::bigint AS overrun_cost_micros, sum(overrun_tokens)::bigint AS overrun_tokens,
    sum(overrun_requests)::bigint AS overrun_requests
FROM ledger_entries
WHERE organization = $1 AND type IN ('COMMIT', 'RECORD')
    AND ($2 = '' OR team = $2)
    AND ($3 = '' OR "user" = $3)
    AND ($4 = '' OR api_key = $4)
    AND ($5 = '' OR project = $5)
    AND ($6 = '' OR cost_center = $6)
    AND tags @> $7::jsonb
    AND CASE type WHEN 'RECORD' THEN occur_time >= $10 ELSE coalesce((hold ->> 'create_ms')::bigint, 0) >= $12 END
    AND create_time >= $11
GROUP BY provider, model, each_value;

-- name: begin_balances
-- Sets counters of a budget's window, each named once, in sorted order; what changed their limits stays where $12 says so.
INSERT INTO window_balances AS b (
    organization, budget, window_start, window_end, each_value,
    spent_cost_micros, spent_tokens, spent_requests, overrun_cost_micros, overrun_tokens, overrun_requests
)
SELECT $1, $2, $3::timestamptz, $4::timestamptz, * FROM unnest(
    $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[]
) AS sum (each_value)
ORDER BY each_value COLLATE "C"
ON CONFLICT (organization, budget, each_value, window_start) DO UPDATE SET
    window_end = excluded.window_end,
    spent_cost_micros = excluded.spent_cost_micros,
    spent_tokens = excluded.spent_tokens,
    spent_requests = excluded.spent_requests,
    overrun_cost_micros = excluded.overrun_cost_micros,
    overrun_tokens = excluded.overrun_tokens,
    overrun_requests = excluded.overrun_requests,
    added_cost_micros = CASE WHEN $12 THEN b.added_cost_micros ELSE 0 END,
    added_tokens = CASE WHEN $12 THEN b.added_tokens ELSE 0 END,
    added_requests = CASE WHEN $12 THEN b.added_requests ELSE 0 END,
    moved_cost_micros = CASE WHEN $12 THEN b.moved_cost_micros ELSE 0 END,
    moved_tokens = CASE WHEN $12 THEN b.moved_tokens ELSE 0 END,
    moved_requests = CASE WHEN $12 THEN b.moved_requests ELSE 0 END;
