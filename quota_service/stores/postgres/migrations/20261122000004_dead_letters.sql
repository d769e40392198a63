-- migrate:up

-- Entries that came from the deciding store and that the ledger has refused time and again: one a ledger key, as the ledger has one.
-- Nothing of them may be refused here: `digest` stands for the key where an index needs it, and `entry` is JSON as bytes, because
-- text cannot hold NUL. `epoch`: the one whose keys count it, 0 for none; `event`: which event of the deciding store told of it.
CREATE TABLE dead_letters (
    organization text COLLATE "C" NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    digest bytea NOT NULL,
    key text COLLATE "C" NOT NULL,
    reservation text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    event text NOT NULL,
    entry bytea NOT NULL,
    error text NOT NULL,
    tries integer NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    try_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization, id),
    UNIQUE (organization, digest)
);

-- migrate:down

-- Migrations only go forward: what one got wrong, the next one repairs.
