-- migrate:up

-- Nothing looks for open holds by when they expire: that is swept where they are held. The planner took this index for all of an organization's
-- when it believed the table empty.
DROP INDEX open_holds_by_expiry;

-- Removes (kept NULL), makes (fresh) or moves forward open holds. Rows that exist are locked in sorted order first. One that is
-- gone stays gone, and an older state does not replace a newer one.
-- Row by row, because a join is planned by what the table seems to hold, and this one is empty and full again within a second: planned
-- just after it was vacuumed while empty, the join read the whole table for every batch. One row has one way to it, its key.
CREATE OR REPLACE FUNCTION change_open_holds(changes open_hold_change[]) RETURNS void LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    change open_hold_change;
BEGIN
    FOR change IN SELECT * FROM unnest(changes) WHERE NOT fresh ORDER BY organization COLLATE "C", reservation COLLATE "C" LOOP
        IF change.kept IS NULL THEN
            DELETE FROM open_holds h WHERE h.organization = change.organization AND h.reservation = change.reservation;
        ELSE
            UPDATE open_holds h SET kept = change.kept, hold = NULL, progress = change.progress, expire_time = change.expire_time
            WHERE h.organization = change.organization AND h.reservation = change.reservation AND h.progress < change.progress;
        END IF;
    END LOOP;
    INSERT INTO open_holds (organization, reservation, kept, progress, expire_time)
    SELECT organization, reservation, kept, progress, expire_time FROM unnest(changes) WHERE fresh
    ORDER BY organization COLLATE "C", reservation COLLATE "C";
END
$$;

-- migrate:down

-- Migrations only go forward: what one got wrong, the next one repairs.
