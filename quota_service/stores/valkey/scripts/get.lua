#!lua flags=allow-oom
-- Get: one reservation, retired first if its time is over.
-- KEYS  1 meta  2 holds  3 events  4 hold
-- Reply OK, now, doc, live | UNKNOWN, now
local now = read_meta()
local hold = read_hold(KEYS[4])
if not hold then return {CODE.UNKNOWN, now} end
if hold.state == 'HELD' and now >= hold.expire then
  remember(now)
  finish(hold, 'EXPIRED', 'EXPIRE', now, '')
end
return {CODE.OK, now, hold.doc, hold.packed}
