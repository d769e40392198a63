#!lua flags=allow-oom
-- Release: returns the whole hold. An ended reservation stays as it is.
-- KEYS  1 meta  2 holds  3 events  4 hold   (the windows are named by the hold and share the slot)
-- ARGV  1 body for the ledger
-- Reply OK, now, doc, live, returned (msgpack), event id, event, its bytes, windows after...
--       REPLAYED, now, doc, live, nothing (msgpack), '', '', 0, windows...
--       UNKNOWN, now | SWEEP, now | FULL, now
local now = read_meta()
if not retire_all(now) then return {CODE.SWEEP, now} end
local hold = read_hold(KEYS[4])
if not hold then return {CODE.UNKNOWN, now} end
remember(now)
if hold.state ~= 'HELD' then
  return {CODE.REPLAYED, now, hold.doc, hold.packed, cmsgpack.pack(NOTHING), '', '', 0, unpack(read_windows(hold.windows))}
end
if is_buffer_full(100) then return {CODE.FULL, now} end
local returned, after, event = finish(hold, 'RELEASED', 'RELEASE', now, ARGV[1])
return {CODE.OK, now, hold.doc, hold.packed, cmsgpack.pack(returned), event[1], event[2], event[3], unpack(after)}
