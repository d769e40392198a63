#!lua flags=allow-oom
-- Reallocate: moves headroom that is neither spent nor held from one window to another, once for its key.
-- KEYS  1 meta  2 holds  3 events  4 marker of the key  5 source window  6 destination window  7.. their values keys
-- ARGV  1 version  2 from_ms  3 until_ms ('' none)  4 content hash  5 amounts (msgpack)  6 places (msgpack), the source's first
--       7 the budgets' limits (msgpack), likewise  8 doc  9 live (msgpack)  10 body for the ledger
-- Reply OK, now, event id, event, its bytes, source window after, destination window after
--       SHORT, now, windows: the source has less than that
--       OUT_OF_RANGE, now, windows: a limit would be below 0 or too high
--       REPLAYED, now | STALE, now, version | OUTSIDE, now | SWEEP, now | CONFLICT, now | UNOPENED, now | FULL, now
local now, refusal = check_basis(ARGV[1], ARGV[2], ARGV[3])
if refusal then return refusal end
remember(now, ARGV[1])

local known = redis.call('GET', KEYS[4])
if known then return {known == ARGV[4] and CODE.REPLAYED or CODE.CONFLICT, now} end

if not retire_all(now) then return {CODE.SWEEP, now} end
if is_buffer_full(100) then return {CODE.FULL, now} end
local amounts, places, limits = cmsgpack.unpack(ARGV[5]), located(cmsgpack.unpack(ARGV[6])), cmsgpack.unpack(ARGV[7])
local raw = {redis.call('GET', KEYS[5]), redis.call('GET', KEYS[6])}
local source, destination = unpack_window(raw[1]), unpack_window(raw[2])
if is_unopened(places[1], source) or is_unopened(places[2], destination) then return {CODE.UNOPENED, now} end

-- Whatever the ladder says, what can be given away is measured at the limit.
for meter = 1, 3 do
  if amounts[meter] > 0 and limit_of(source, {limits[1]}, meter) - source[1][meter] - source[2][meter] < amounts[meter] then
    return {CODE.SHORT, now, raw[1], raw[2]}
  end
end
source[8], destination[8] = plus(source[8], amounts, -1), plus(destination[8], amounts, 1)
if not (in_range(source, limits[1], amounts) and in_range(destination, limits[2], amounts)) then
  return {CODE.OUT_OF_RANGE, now, raw[1], raw[2]}
end

redis.call('SET', KEYS[4], ARGV[4])
write_window(places[1], source, raw[1])
write_window(places[2], destination, raw[2])
local event = emit('REALLOCATE', now, {doc = ARGV[8], packed = ARGV[9]}, NOTHING, NOTHING, 0, false, false, ARGV[10])
return {CODE.OK, now, event[1], event[2], event[3], pack_window(source), pack_window(destination)}
