-- migrate:up

-- What a transaction of the ledger does, as values: an entry without what the ledger itself gives it, and with the origin that its key
-- has; what becomes of an open hold; what a window gains; and where a window stands, with the version of the configuration under which
-- to look at it.
CREATE TYPE new_ledger_entry AS (
    organization text, key text, content_hash text, type text, reservation text,
    team text, "user" text, api_key text, project text, cost_center text, tags jsonb, provider text, model text,
    input_tokens bigint, cached_input_tokens bigint, cache_write_tokens bigint, output_tokens bigint, own_cost_micros bigint,
    usage_estimated boolean, exact_cost_usd numeric,
    charged_cost_micros bigint, charged_tokens bigint, charged_requests bigint,
    overrun_cost_micros bigint, overrun_tokens bigint, overrun_requests bigint,
    late boolean, final boolean, windows jsonb, hold json, reason text, actor text, at_time timestamptz, occur_time timestamptz,
    origin text
);
CREATE TYPE open_hold_change AS (
    organization text, reservation text, kept bytea, progress bigint, expire_time timestamptz, fresh boolean
);
CREATE TYPE window_gain AS (
    organization text, budget text, each_value text, window_start timestamptz, window_end timestamptz,
    spent_cost_micros bigint, spent_tokens bigint, spent_requests bigint,
    overrun_cost_micros bigint, overrun_tokens bigint, overrun_requests bigint,
    added_cost_micros bigint, added_tokens bigint, added_requests bigint,
    moved_cost_micros bigint, moved_tokens bigint, moved_requests bigint
);
CREATE TYPE window_standing AS (
    organization text, budget text, each_value text, window_start timestamptz, window_end timestamptz,
    spent_cost_micros bigint, spent_tokens bigint, spent_requests bigint,
    change_cost_micros bigint, change_tokens bigint, change_requests bigint, version bigint
);

-- All functions here plan once, and through indexes: planning takes longer than doing, and what is planned while a table is small and without
-- statistics would read all of it when it has grown.

-- Removes (kept NULL), makes (fresh) or moves forward open holds. Rows that exist are locked in sorted order first. One that is
-- gone stays gone, and an older state does not replace a newer one.
CREATE FUNCTION change_open_holds(changes open_hold_change[]) RETURNS void LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    WITH batch AS (
        SELECT * FROM unnest(changes)
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
    SELECT organization, reservation, kept, progress, expire_time FROM batch WHERE fresh
    ORDER BY organization COLLATE "C", reservation COLLATE "C";
END
$$;

-- Adds what a batch charges to its windows and how it changes their limits, each named once, in sorted order. A window's end is
-- the latest that was named. Returns where they stand.
CREATE FUNCTION add_balances(gains window_gain[]) RETURNS SETOF window_standing LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    RETURN QUERY
    INSERT INTO window_balances AS b (
        organization, budget, each_value, window_start, window_end,
        spent_cost_micros, spent_tokens, spent_requests, overrun_cost_micros, overrun_tokens, overrun_requests,
        added_cost_micros, added_tokens, added_requests, moved_cost_micros, moved_tokens, moved_requests
    )
    SELECT * FROM unnest(gains)
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
        b.added_cost_micros + b.moved_cost_micros, b.added_tokens + b.moved_tokens, b.added_requests + b.moved_requests,
        (SELECT o.version FROM organizations o WHERE o.id = b.organization);
END
$$;

-- The usual transaction of the ledger as one statement: its entries are all new (each key once), what they imply has been written before,
-- and the deciding store ran them in the epochs that are running. Returns where the windows stand that were charged; where anything of that
-- is not so, NULL, having done nothing. Locks are taken in the order of all who write the ledger: epochs, keys, open holds, balances.
CREATE FUNCTION write_new_entries(
    organizations text[], epochs bigint[], owners text[], reservations text[], implied_owners text[], implied_keys text[],
    entries new_ledger_entry[], changes open_hold_change[], gains window_gain[]
) RETURNS window_standing[] LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    claimed bigint;
BEGIN
    PERFORM FROM begin_ledger_write(organizations, owners, reservations, array_fill(false, ARRAY[cardinality(owners)])) b
    JOIN unnest(organizations, epochs) AS e (organization, epoch) ON e.organization = b.organization
    WHERE b.epoch <> e.epoch OR b.contested IS NOT NULL;
    IF FOUND THEN RETURN NULL; END IF;

    PERFORM FROM unnest(implied_owners, implied_keys) AS i (organization, key)
    WHERE (SELECT k.entry_id FROM ledger_keys k WHERE k.organization = i.organization AND k.key = i.key) IS NULL;
    IF FOUND THEN RETURN NULL; END IF;

    BEGIN
        WITH batch AS MATERIALIZED (
            SELECT nextval('ledger_entry_ids') AS id, e.* FROM unnest(entries) WITH ORDINALITY e ORDER BY e.ordinality
        ), free AS (
            INSERT INTO ledger_keys (organization, key, content_hash, origin, entry_id, create_time)
            SELECT organization, key, content_hash, origin, id, now() FROM batch ORDER BY organization COLLATE "C", key COLLATE "C"
            ON CONFLICT DO NOTHING
            RETURNING 1
        ), written AS (
            INSERT INTO ledger_entries (
                id, create_time, organization, key, content_hash, type, reservation,
                team, "user", api_key, project, cost_center, tags, provider, model,
                input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, own_cost_micros, usage_estimated, exact_cost_usd,
                charged_cost_micros, charged_tokens, charged_requests, overrun_cost_micros, overrun_tokens, overrun_requests,
                late, final, windows, hold, reason, actor, at_time, occur_time
            )
            SELECT
                id, now(), organization, key, content_hash, type, reservation,
                team, "user", api_key, project, cost_center, tags, provider, model,
                input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, own_cost_micros, usage_estimated, exact_cost_usd,
                charged_cost_micros, charged_tokens, charged_requests, overrun_cost_micros, overrun_tokens, overrun_requests,
                late, final, windows, hold, reason, actor, at_time, occur_time
            FROM batch
        )
        SELECT count(*) INTO claimed FROM free;
        -- Somebody has written one of them. Caught below, it takes back what was written here.
        IF claimed <> cardinality(entries) THEN RAISE EXCEPTION 'not all are new' USING ERRCODE = 'QS001'; END IF;
    EXCEPTION WHEN SQLSTATE 'QS001' THEN
        RETURN NULL;
    END;
    PERFORM change_open_holds(changes);
    RETURN coalesce((SELECT array_agg(s) FROM add_balances(gains) s), ARRAY[]::window_standing[]);
END
$$;

-- migrate:down

-- Migrations only go forward: what one got wrong, the next one repairs.
