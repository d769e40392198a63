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
EXCEPTION WHEN insufficient_privilege THEN NULL;
END
$$;

-- name: grant
-- What the service may do: everything with what changes, add to what is append-only, and read what migrations leave. Partitions are
-- reached through their tables alone.
DO $$
DECLARE
    name text;
    may text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('quota_application', 0));
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO quota_application', current_schema());
    FOR name IN SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    LOOP
        may := CASE
            WHEN name IN ('ledger_entries', 'ledger_keys', 'ledger_seals', 'audit_events') THEN 'SELECT, INSERT'
            WHEN name = 'schema_migrations' THEN 'SELECT'
            ELSE 'SELECT, INSERT, UPDATE, DELETE'
        END;
        EXECUTE format('REVOKE ALL ON %I FROM quota_application', name);
        EXECUTE format('GRANT %s ON %I TO quota_application', may, name);
    END LOOP;
    EXECUTE format('GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA %I TO quota_application', current_schema());
END
$$;

-- name: take_on
-- For the session, where whoever has connected may. It lasts: what a pool resets between uses leaves it.
SELECT set_config('role', rolname, false) FROM pg_roles WHERE rolname = 'quota_application' AND rolname <> current_user AND pg_has_role(
    current_user, oid, CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END
);
