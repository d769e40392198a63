#!lua flags=no-writes
-- Inspect: where windows stand.
-- KEYS  1 meta  2 holds  3 events  4.. windows
-- ARGV  1 version  2 from_ms  3 until_ms ('' none)
-- Reply OK, now, windows...
--       STALE, now, version | OUTSIDE, now | SWEEP, now
local now, refusal = check_basis(ARGV[1], ARGV[2], ARGV[3])
if refusal then return refusal end
if due_remain(now) then return {CODE.SWEEP, now} end
local windows = {}
for i = 4, #KEYS do
  windows[i - 3] = redis.call('GET', KEYS[i])
end
return {CODE.OK, now, unpack(windows)}
