-- migrate:up

-- Identifiers sort by their bytes (COLLATE "C") everywhere: pages and lock orders must not depend on a server's locale.

-- One sequence for all organizations, so that an organization that is deleted and made again never goes back to an old version.
CREATE SEQUENCE configuration_versions;

-- `version`: of the configuration as a whole. `settings_version`: when the document last changed (its etag).
-- `first_version`: whoever knows an older configuration knows another organization of the same name, and loads everything.
CREATE TABLE organizations (
    id text COLLATE "C" PRIMARY KEY,
    document jsonb NOT NULL,
    version bigint NOT NULL,
    settings_version bigint NOT NULL,
    first_version bigint NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now()
);

-- Directory, budgets and own models. A deleted resource stays as a tombstone (document NULL), so that "what has changed
-- since version n" includes what is gone. `version` is also the resource's etag.
CREATE TABLE resources (
    organization text COLLATE "C" NOT NULL REFERENCES organizations ON DELETE CASCADE,
    kind text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    document jsonb,
    version bigint NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization, kind, id)
);
CREATE INDEX resources_by_version ON resources (organization, version);
-- A key alone must say whose it is.
CREATE UNIQUE INDEX resources_api_key ON resources (id) WHERE kind = 'api_key' AND document IS NOT NULL;

-- Requests that changed the configuration, so that a repeat changes nothing.
CREATE TABLE request_ids (
    organization text COLLATE "C" NOT NULL REFERENCES organizations ON DELETE CASCADE,
    request_id text COLLATE "C" NOT NULL,
    content_hash text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization, request_id)
);

-- The imported catalogue, shared by all organizations, and what it was imported from. `version` is one of
-- configuration_versions: processes load the models again when it changes.
CREATE TABLE imported_models (
    provider text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    document jsonb NOT NULL,
    PRIMARY KEY (provider, model)
);
CREATE TABLE catalogue_import (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    fingerprint text NOT NULL,
    version bigint NOT NULL,
    import_time timestamptz NOT NULL DEFAULT now()
);
INSERT INTO catalogue_import (fingerprint, version) VALUES ('', nextval('configuration_versions'));

-- The ledger: immutable facts about money, one partition a month of `create_time` (UTC). `hold` is the reservation after the
-- event; its subject and windows have columns of their own. Usage is NULL where the event has none.
CREATE SEQUENCE ledger_entry_ids;
CREATE TABLE ledger_entries (
    id bigint NOT NULL,
    create_time timestamptz NOT NULL,
    organization text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    content_hash text NOT NULL,
    type text NOT NULL,
    reservation text COLLATE "C" NOT NULL,
    team text NOT NULL,
    "user" text NOT NULL,
    api_key text NOT NULL,
    project text NOT NULL,
    cost_center text NOT NULL,
    tags jsonb NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    input_tokens bigint,
    cached_input_tokens bigint,
    cache_write_tokens bigint,
    output_tokens bigint,
    own_cost_micros bigint,
    usage_estimated boolean NOT NULL,
    exact_cost_usd numeric NOT NULL,
    charged_cost_micros bigint NOT NULL,
    charged_tokens bigint NOT NULL,
    charged_requests bigint NOT NULL,
    overrun_cost_micros bigint NOT NULL,
    overrun_tokens bigint NOT NULL,
    overrun_requests bigint NOT NULL,
    late boolean NOT NULL,
    final boolean NOT NULL,
    windows jsonb NOT NULL,
    hold json NOT NULL,
    reason text NOT NULL,
    actor text NOT NULL,
    at_time timestamptz NOT NULL,
    occur_time timestamptz NOT NULL
) PARTITION BY RANGE (create_time);
CREATE INDEX ledger_entries_newest_first ON ledger_entries (organization, id DESC);
CREATE INDEX ledger_entries_of_reservation ON ledger_entries (organization, reservation) WHERE reservation <> '';

-- What makes an entry unique: it cannot be an index of ledger_entries, because that would need the month.
CREATE TABLE ledger_keys (
    organization text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    content_hash text NOT NULL,
    entry_id bigint NOT NULL,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (organization, key)
) PARTITION BY HASH (organization, key);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
-- Row triggers reach partitions by themselves, present and future; triggers on TRUNCATE must be made on each.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger_entries FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger_keys FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger_entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger_keys FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

DO $$
BEGIN
    FOR part IN 0..7 LOOP
        EXECUTE format('CREATE TABLE ledger_keys_%s PARTITION OF ledger_keys FOR VALUES WITH (MODULUS 8, REMAINDER %s)', part, part);
        EXECUTE format('CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger_keys_%s '
            'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', part);
    END LOOP;
END
$$;

-- Makes the ledger's partitions for the previous month and up to three ahead; returns how many it made. A table is made first
-- and attached afterwards, because that lets others write meanwhile.
CREATE FUNCTION ensure_ledger_partitions(at timestamptz DEFAULT now()) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    this_month timestamp := date_trunc('month', at AT TIME ZONE 'UTC');
    month timestamp;
    part text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('ensure_ledger_partitions', 0));
    FOR month IN SELECT generate_series(this_month - interval '1 month', this_month + interval '3 months', interval '1 month') LOOP
        part := 'ledger_entries_' || to_char(month, 'YYYY_MM');
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE ledger_entries INCLUDING ALL)', part);
        EXECUTE format('CREATE TRIGGER never_truncated BEFORE TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', part);
        EXECUTE format('ALTER TABLE ledger_entries ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            part, month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
SELECT ensure_ledger_partitions();

-- What the ledger's entries add up to, window by window. Rows change often and in place: room is left for that.
CREATE TABLE window_balances (
    organization text COLLATE "C" NOT NULL,
    budget text COLLATE "C" NOT NULL,
    each_value text COLLATE "C" NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz,
    spent_cost_micros bigint NOT NULL,
    spent_tokens bigint NOT NULL,
    spent_requests bigint NOT NULL,
    overrun_cost_micros bigint NOT NULL,
    overrun_tokens bigint NOT NULL,
    overrun_requests bigint NOT NULL,
    PRIMARY KEY (organization, budget, each_value, window_start)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- Reservations that the ledger has not seen end. `progress` orders the states of one hold, because entries may be written in
-- any order: see postgres/holds.py.
CREATE TABLE open_holds (
    organization text COLLATE "C" NOT NULL,
    reservation text COLLATE "C" NOT NULL,
    hold json NOT NULL,
    progress bigint NOT NULL,
    expire_time timestamptz NOT NULL,
    PRIMARY KEY (organization, reservation)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX open_holds_by_expiry ON open_holds (organization, expire_time);

-- migrate:down

-- Migrations only go forward: what one got wrong, the next one repairs.
