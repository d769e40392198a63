#!lua flags=no-writes
-- Inspect: where windows stand.
-- KEYS  1 meta  2 holds  3 events  4.. windows
-- ARGV  1 version  2 from_ms  3 until_ms ('' none)  4 under what number each window must be opened (msgpack, 0: it need not)
-- Reply OK, now, windows...
--       STALE, now, version | OUTSIDE, now | SWEEP, now | UNOPENED, now
local now, refusal = check_basis(ARGV[1], ARGV[2], ARGV[3])
if refusal then return refusal end
if due_remain(now) then return {CODE.SWEEP, now} end
local windows, openings = {}, cmsgpack.unpack(ARGV[4])
for i = 4, #KEYS do
  local raw, opening = redis.call('GET', KEYS[i]), openings[i - 3]
  if opening ~= 0 and unpack_window(raw)[9] ~= opening then return {CODE.UNOPENED, now} end
  windows[i - 3] = raw
end
return {CODE.OK, now, unpack(windows)}
