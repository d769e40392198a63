-- migrate:up

-- Steps of ladders that have told, once in each window: `alerts_once` is what keeps replicas from telling twice. Everything that
-- a delivery needs is as it was when the step told. `id` orders the pages; a failed insert may skip numbers. `held` is 0 where
-- only the ledger was asked. `target` is what a step restricts to (a tier) or diverts to (provider/model). `repeat` counts the
-- reminders of soft budgets. `details` (who spent most, and when the limit is reached) is filled in afterwards.
CREATE TABLE alerts (
    id bigint GENERATED ALWAYS AS IDENTITY,
    organization text COLLATE "C" NOT NULL,
    budget text COLLATE "C" NOT NULL,
    each_value text COLLATE "C" NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz,
    at_percent integer NOT NULL,
    action text NOT NULL,
    target text COLLATE "C" NOT NULL,
    repeat integer NOT NULL,
    meter smallint NOT NULL,
    mode smallint NOT NULL,
    "limit" bigint NOT NULL,
    spent bigint NOT NULL,
    held bigint NOT NULL,
    display_name text NOT NULL,
    time_zone text NOT NULL,
    recipients jsonb NOT NULL,
    subject jsonb NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    details jsonb,
    PRIMARY KEY (organization, id)
);
CREATE UNIQUE INDEX alerts_once ON alerts (organization, budget, each_value, window_start, at_percent, action, target, repeat);
CREATE INDEX alerts_without_details ON alerts (id) WHERE details IS NULL;

-- How often requests were denied, minute by minute: statistics, kept for a month. `id` orders the pages within a minute.
CREATE TABLE denials (
    id bigint GENERATED ALWAYS AS IDENTITY,
    organization text COLLATE "C" NOT NULL,
    minute timestamptz NOT NULL,
    team text COLLATE "C" NOT NULL,
    "user" text COLLATE "C" NOT NULL,
    api_key text COLLATE "C" NOT NULL,
    project text COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    reason smallint NOT NULL,
    source text COLLATE "C" NOT NULL,
    count bigint NOT NULL,
    last_message text NOT NULL,
    PRIMARY KEY (organization, minute, team, "user", api_key, project, provider, model, reason, source)
) WITH (fillfactor = 80);
CREATE INDEX denials_newest_first ON denials (organization, minute DESC, id DESC);
CREATE INDEX denials_by_minute ON denials USING brin (minute);

-- migrate:down

-- Migrations only go forward: what one got wrong, the next one repairs.
