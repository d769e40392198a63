-- migrate:up

-- A secret alone must say whose it is: its key is found by the secret's start.
CREATE INDEX resources_api_key_secrets ON resources USING gin ((document -> 'secrets') jsonb_path_ops) WHERE kind = 'api_key';

-- migrate:down

-- Migrations only go forward: what one got wrong, the next one repairs.
