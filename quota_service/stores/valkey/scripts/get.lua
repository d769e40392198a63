#!lua flags=allow-oom
-- Get: one reservation, retired first if its time is over.
-- KEYS  1 meta  2 holds  3 events  4 hold
-- Reply OK, now, doc, live | UNKNOWN, now
local now = read_meta()
local hold = read_own_hold(now)
if not hold then return {CODE.UNKNOWN, now} end
return {CODE.OK, now, hold.doc, hold.packed}
