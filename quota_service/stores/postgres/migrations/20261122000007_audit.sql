-- migrate:up

-- Every change that somebody made through a service, one row for each thing that it changed, in the transaction of the change. Each
-- organization's events are a chain: see domain/audit.py. `before` and `after` are documents as they were, byte for byte.
CREATE TABLE audit_events (
    organization text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    create_time timestamptz NOT NULL,
    actor text COLLATE "C" NOT NULL,
    method text COLLATE "C" NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    reason text NOT NULL,
    resource text COLLATE "C" NOT NULL,
    before text,
    after text,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (organization, sequence)
);
CREATE INDEX audit_events_of_resource ON audit_events (organization, resource, sequence);

-- What the ledger's entries were when they were sealed, some seconds after they were written: also a chain for each organization.
-- `entries` has 24 bytes for each entry after the last seal's `last_id` and up to this one's: its id and its ledger_digest.
CREATE TABLE ledger_seals (
    organization text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    last_id bigint NOT NULL,
    entries bytea NOT NULL,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (organization, sequence)
);

-- Up to which entry the ledger is sealed, and when that was last known to be all. Only says where to go on: an entry that is passed over
-- is found by the verifier.
CREATE TABLE ledger_sealed (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last_id bigint NOT NULL,
    seal_time timestamptz NOT NULL DEFAULT now()
);
INSERT INTO ledger_sealed (last_id) VALUES (0);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_events FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger_seals FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON audit_events FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger_seals FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Entries are sealed by their ids, those of all organizations together. They are stored nearly in that order.
CREATE INDEX ledger_entries_by_id ON ledger_entries USING brin (id) WITH (pages_per_range = 32, autosummarize = on);

-- What tells one entry from any other. Names every column, so that one that is added later changes no digest; in PostgreSQL's binary
-- form, which depends on no setting but the client's encoding (UTF-8) and takes half as long to make as text.
CREATE FUNCTION ledger_digest(e ledger_entries) RETURNS bytea LANGUAGE sql STABLE RETURN substring(sha256(record_send(ROW(
    e.id, e.create_time, e.organization, e.key, e.content_hash, e.type, e.reservation, e.team, e."user", e.api_key, e.project,
    e.cost_center, e.tags, e.provider, e.model, e.input_tokens, e.cached_input_tokens, e.cache_write_tokens, e.output_tokens,
    e.own_cost_micros, e.usage_estimated, e.exact_cost_usd, e.charged_cost_micros, e.charged_tokens, e.charged_requests,
    e.overrun_cost_micros, e.overrun_tokens, e.overrun_requests, e.late, e.final, e.windows, e.hold, e.reason, e.actor, e.at_time,
    e.occur_time
))) FOR 16);

CREATE FUNCTION seal_hash(previous bytea, organization text, sequence bigint, last_id bigint, entries bytea) RETURNS bytea LANGUAGE sql STABLE
    RETURN sha256(previous || convert_to(organization, 'UTF8') || int8send(sequence) || int8send(last_id) || entries);

-- Whoever writes the ledger has a transaction id before it draws the ids of its entries: so when all transactions that were under way
-- at some instant have ended, all ids that had been drawn by then are written or never will be.
CREATE OR REPLACE FUNCTION begin_ledger_write(organizations text[], owners text[], reservations text[], alone boolean[])
RETURNS TABLE (organization text, epoch bigint, contested text[]) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_current_xact_id();
    PERFORM pg_advisory_xact_lock_shared(store_epoch_lock(o)) FROM (SELECT unnest(organizations) AS o ORDER BY 1) sorted;
    PERFORM pg_advisory_xact_lock(lock) FROM (
        SELECT hashtextextended(r.owner || '/' || r.reservation, 1) AS lock
        FROM unnest(owners, reservations, alone) AS r (owner, reservation, alone)
        LEFT JOIN store_epochs e ON e.organization = r.owner
        WHERE r.alone OR e.change_time > now() - interval '15 minutes'
        ORDER BY 1
    ) sorted;
    RETURN QUERY
        SELECT o, coalesce(e.epoch, 0), (
            SELECT array_agg(DISTINCT p.reservation)
            FROM unnest(owners, reservations) AS r (owner, reservation)
            JOIN pending_applications p ON p.organization = r.owner AND p.reservation = r.reservation AND p.reservation <> ''
            WHERE r.owner = o
        )
        FROM unnest(organizations) AS o LEFT JOIN store_epochs e ON e.organization = o;
END
$$;

-- The application's role owns no table, so it makes no partition either: it may ask for them. What runs with the owner's rights names
-- everything that somebody else could put before it.
CREATE OR REPLACE FUNCTION ensure_ledger_partitions(at timestamptz DEFAULT now()) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    schema text := (SELECT n.nspname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE p.oid = 'ensure_ledger_partitions(timestamptz)'::pg_catalog.regprocedure);
    this_month timestamp := pg_catalog.date_trunc('month'::text, at AT TIME ZONE 'UTC'::text);
    month timestamp;
    part text;
    made integer := 0;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('ensure_ledger_partitions'::text, 0::bigint));
    FOR month IN
        SELECT pg_catalog.generate_series(this_month - interval '1 month', this_month + interval '3 months', interval '1 month')
    LOOP
        part := 'ledger_entries_'::text || pg_catalog.to_char(month, 'YYYY_MM'::text);
        CONTINUE WHEN pg_catalog.to_regclass(pg_catalog.format('%I.%I', schema, part)) IS NOT NULL;
        EXECUTE pg_catalog.format('CREATE TABLE %1$I.%2$I (LIKE %1$I.ledger_entries INCLUDING ALL)', schema, part);
        EXECUTE pg_catalog.format('CREATE TRIGGER never_truncated BEFORE TRUNCATE ON %1$I.%2$I '
            'FOR EACH STATEMENT EXECUTE FUNCTION %1$I.refuse_change()', schema, part);
        EXECUTE pg_catalog.format('ALTER TABLE %1$I.ledger_entries ATTACH PARTITION %1$I.%2$I FOR VALUES FROM (%3$L) TO (%4$L)',
            schema, part, month AT TIME ZONE 'UTC'::text, (month + interval '1 month') AT TIME ZONE 'UTC'::text);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
REVOKE EXECUTE ON FUNCTION ensure_ledger_partitions(timestamptz) FROM PUBLIC;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION ensure_ledger_partitions(timestamptz) SECURITY DEFINER SET search_path = pg_catalog, %I, pg_temp',
        current_schema());
END
$$;

-- migrate:down

-- Migrations only go forward: what one got wrong, the next one repairs.
