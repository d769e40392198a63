-- name: lock_organization
-- Begins a change: no other change of the organization, and no import of prices, goes on until this one ends.
SELECT id, document, version, settings_version, create_time, update_time FROM organizations WHERE id = $1 FOR UPDATE;

-- name: next_version
SELECT nextval('configuration_versions');

-- name: finish_change
-- Raises the organization's version and tells whoever listens.
WITH raised AS (UPDATE organizations SET version = $2 WHERE id = $1)
SELECT pg_notify('quota_configuration', $1);

-- name: put_organization
UPDATE organizations SET document = $2, settings_version = $3, update_time = statement_timestamp() WHERE id = $1
RETURNING id, document, version, settings_version, create_time, update_time;

-- name: get_resource
SELECT id, document, version, create_time, update_time FROM resources
WHERE organization = $1 AND kind = $2 AND id = $3 AND document IS NOT NULL;

-- name: all_resources
SELECT document FROM resources WHERE organization = $1 AND kind = $2 AND document IS NOT NULL ORDER BY id;

-- name: list_resources
-- One page, by id; of these ids only ($5), unless it is NULL.
SELECT id, document, version, create_time, update_time FROM resources
WHERE organization = $1 AND kind = $2 AND id > $3 AND ($5::text[] IS NULL OR id = ANY ($5)) AND document IS NOT NULL
ORDER BY id LIMIT $4;

-- name: put_resource
-- Creates or replaces; one that was deleted is made anew. Returns also what it replaced.
WITH replaced AS (SELECT document FROM resources WHERE organization = $1 AND kind = $2 AND id = $3)
INSERT INTO resources AS r (organization, kind, id, document, version, create_time, update_time)
VALUES ($1, $2, $3, $4, $5, statement_timestamp(), statement_timestamp())
ON CONFLICT (organization, kind, id) DO UPDATE SET
    document = excluded.document,
    version = excluded.version,
    create_time = CASE WHEN r.document IS NULL THEN excluded.create_time ELSE r.create_time END,
    update_time = excluded.update_time
RETURNING id, document, version, create_time, update_time, (SELECT document FROM replaced) AS replaced;

-- name: delete_resource
-- Leaves a tombstone, from which an incremental load learns of it.
UPDATE resources SET document = NULL, version = $4, update_time = statement_timestamp()
WHERE organization = $1 AND kind = $2 AND id = $3;

-- name: claim_request
INSERT INTO request_ids (organization, request_id, content_hash) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING true;

-- name: request_hash
SELECT content_hash FROM request_ids WHERE organization = $1 AND request_id = $2;

-- name: insert_organization
-- Waits for an import of prices under way, which otherwise would not see the new row and not raise its version.
WITH import AS (SELECT FROM catalogue_import FOR SHARE),
    new AS (SELECT nextval('configuration_versions') AS version FROM (SELECT count(*) FROM import))
INSERT INTO organizations (id, document, version, settings_version, first_version)
SELECT $1, $2, version, version, version FROM new
ON CONFLICT DO NOTHING
RETURNING id, document, version, settings_version, create_time, update_time;

-- name: versions
SELECT id, version FROM organizations ORDER BY id;

-- name: notify
SELECT pg_notify('quota_configuration', $1);

-- name: has_resources
SELECT EXISTS (SELECT FROM resources WHERE organization = $1 AND document IS NOT NULL);

-- name: delete_organization
-- With its tombstones and request ids.
DELETE FROM organizations WHERE id = $1;

-- name: get_organization
SELECT id, document, version, settings_version, create_time, update_time FROM organizations WHERE id = $1;

-- name: list_organizations
SELECT id, document, version, settings_version, create_time, update_time FROM organizations
WHERE id > $1 ORDER BY id LIMIT $2;

-- name: configuration_head
-- What a load needs to know first.
SELECT document, version, first_version, (SELECT version FROM catalogue_import) AS import_version
FROM organizations WHERE id = $1;

-- name: live_resources
-- Everything, for whoever knows nothing yet.
SELECT kind, id, document FROM resources WHERE organization = $1 AND document IS NOT NULL;

-- name: changed_resources
-- What has changed since a version; `document` is NULL for what is gone.
SELECT kind, id, document FROM resources WHERE organization = $1 AND version > $2;

-- name: organization_of_key
SELECT organization FROM resources WHERE id = $1 AND kind = 'api_key' AND document IS NOT NULL;

-- name: keys_with_start
SELECT organization, id FROM resources WHERE kind = 'api_key' AND document -> 'secrets' @> $1::jsonb ORDER BY organization, id;
