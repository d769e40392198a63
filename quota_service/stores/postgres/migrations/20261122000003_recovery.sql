-- migrate:up

-- How often the deciding store's keys of an organization have been made anew: what a script ran under an older epoch is not in
-- them. Whoever writes the ledger holds the organization's lock shared, whoever starts an epoch holds it alone (see
-- begin_ledger_write). `broken`: the keys differ from the ledger in a way that only a new epoch mends.
CREATE SEQUENCE store_epoch_numbers;
CREATE TABLE store_epochs (
    organization text COLLATE "C" PRIMARY KEY,
    epoch bigint NOT NULL,
    broken boolean NOT NULL DEFAULT false,
    change_time timestamptz NOT NULL DEFAULT now()
);

-- In which epoch an entry's script ran and which event told of it, `<epoch>/<event>`; empty: the deciding store has not run it.
ALTER TABLE ledger_keys ADD COLUMN origin text NOT NULL DEFAULT '';

-- Entries that the ledger has and the deciding store's keys had not when they were written: it was away, or its keys have been made
-- anew since. They are brought to it, and remembered a day beyond that: what else is told of their reservations may not know of them.
CREATE TABLE pending_applications (
    organization text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    reservation text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL, -- whose keys had it not: those of a later one were made with it
    entry bytea NOT NULL,
    applied boolean NOT NULL DEFAULT false,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization, key)
);
CREATE INDEX pending_applications_to_do ON pending_applications (organization, create_time) WHERE NOT applied;
CREATE INDEX pending_applications_of_reservation ON pending_applications (organization, reservation) WHERE reservation <> '';

CREATE FUNCTION store_epoch_lock(organization text) RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN hashtextextended('store epoch of ' || organization, 0);

-- Begins a transaction of the ledger: nobody starts an epoch of these organizations until it ends. Returns their epochs, and
-- which of the reservations have pending applications. What is charged to a reservation by entries that need not know of each
-- other (`alone`, and any shortly after an epoch has begun) is charged by one transaction after the other. Each statement sees
-- what the locks before it have waited for.
CREATE FUNCTION begin_ledger_write(organizations text[], owners text[], reservations text[], alone boolean[])
RETURNS TABLE (organization text, epoch bigint, contested text[]) LANGUAGE plpgsql AS $$
BEGIN
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

-- migrate:down

-- Migrations only go forward: what one got wrong, the next one repairs.
