-- name: make_role
-- The role that the service takes on in every session, made if it is missing and may be made. It belongs to the server, so another
-- database's migration may be making it.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'quota_application') THEN
        CREATE ROLE quota_application NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN RAISE NOTICE 'quota_application cannot be made';
END
$$;

-- name: exists
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'quota_application');

-- name: join_role
-- Whoever migrates may also run the service.
DO $$
BEGIN
    -- From PostgreSQL 16 on, who makes a role may not take it on without more ado.
    IF NOT pg_has_role(
        current_user, 'quota_application', CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END
    ) THEN
        EXECUTE format('GRANT quota_application TO %I', current_user);
    END IF;
EXCEPTION WHEN insufficient_privilege OR unique_violation THEN NULL;
END
$$;

-- name: grant
-- What the service may do with a table of its own ($1), given as a list of privileges ($2). Partitions are reached through their tables.
SELECT format('REVOKE ALL ON %1$I.%2$I FROM quota_application; GRANT %3$s ON %1$I.%2$I TO quota_application',
    current_schema(), $1::text, $2::text);

-- name: grant_rest
-- The schema, the sequences and what makes partitions.
SELECT format('GRANT USAGE ON SCHEMA %1$I TO quota_application; '
    'GRANT USAGE, SELECT ON SEQUENCE %1$I.configuration_versions, %1$I.ledger_entry_ids, %1$I.store_epoch_numbers TO quota_application; '
    'GRANT EXECUTE ON FUNCTION %1$I.ensure_ledger_partitions(timestamptz) TO quota_application', current_schema());

-- name: lock
-- One at a time: others may be granting the same.
SELECT pg_advisory_xact_lock(hashtextextended('quota_application', 0));

-- name: take_on
-- For the session, where whoever has connected may. It lasts: what a pool resets between uses leaves it. Not where the tables are found by
-- the login's name ("$user"), which they would not be any more.
SELECT set_config('role', rolname, false) FROM pg_roles
WHERE rolname = 'quota_application' AND rolname <> current_user AND current_schema() IS DISTINCT FROM current_user AND pg_has_role(
    current_user, oid, CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END
);
