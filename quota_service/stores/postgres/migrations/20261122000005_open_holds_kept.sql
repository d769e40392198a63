-- migrate:up

-- An open hold in MessagePack: what must be known of it to make keys anew, and the two parts that Valkey keeps, passed on unread: see
-- hold_documents.py. Where `hold` is not NULL, a replica of a former version wrote the row last, and only that counts.
ALTER TABLE open_holds ALTER COLUMN hold DROP NOT NULL, ADD COLUMN kept bytea;

-- migrate:down

-- Migrations only go forward: what one got wrong, the next one repairs.
