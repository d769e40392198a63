-- migrate:up

-- How a window's limit differs from its budget's: by adjustments and what rolled over (`added`), and by reallocations (`moved`,
-- net). Both are signed. The rows that are there differ in nothing.
ALTER TABLE window_balances
    ADD COLUMN added_cost_micros bigint NOT NULL DEFAULT 0,
    ADD COLUMN added_tokens bigint NOT NULL DEFAULT 0,
    ADD COLUMN added_requests bigint NOT NULL DEFAULT 0,
    ADD COLUMN moved_cost_micros bigint NOT NULL DEFAULT 0,
    ADD COLUMN moved_tokens bigint NOT NULL DEFAULT 0,
    ADD COLUMN moved_requests bigint NOT NULL DEFAULT 0;

-- migrate:down

-- Migrations only go forward: what one got wrong, the next one repairs.
