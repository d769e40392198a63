-- name: lock_import
-- Only one import at a time.
SELECT fingerprint FROM catalogue_import FOR UPDATE;

-- name: delete_models
DELETE FROM imported_models;

-- name: insert_models
INSERT INTO imported_models (provider, model, document)
SELECT provider, model, document::jsonb FROM unnest($1::text[], $2::text[], $3::text[]) AS new (provider, model, document);

-- name: raise_versions
-- The import changes every organization's configuration. A change under way is waited for, and the version drawn again
-- afterwards: so it is the higher one.
WITH raised AS (UPDATE organizations SET version = nextval('configuration_versions') RETURNING id, version)
SELECT id, version, pg_notify('quota_configuration', id) FROM raised;

-- name: finish_import
UPDATE catalogue_import SET fingerprint = $1, version = nextval('configuration_versions'), import_time = now();

-- name: all_models
SELECT document FROM imported_models;
