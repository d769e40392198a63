#!lua flags=allow-oom
-- Adjust: raises or cuts the limit of one window, once for its key.
-- KEYS  1 meta  2 holds  3 events  4 marker of the key  5 window  6 its values key
-- ARGV  1 version  2 from_ms  3 until_ms ('' none)  4 content hash  5 amounts (msgpack, signed)  6 places (msgpack)
--       7 the budgets' limits (msgpack)  8 doc  9 live (msgpack)  10 body for the ledger
-- Reply OK, now, event id, event, its bytes, window after
--       OUT_OF_RANGE, now, window: its limit would be below 0 or too high
--       REPLAYED, now | STALE, now, version | OUTSIDE, now | SWEEP, now | CONFLICT, now | UNOPENED, now | FULL, now
local now, refusal = check_basis(ARGV[1], ARGV[2], ARGV[3])
if refusal then return refusal end
remember(now, ARGV[1])

local known = redis.call('GET', KEYS[4])
if known then return {known == ARGV[4] and CODE.REPLAYED or CODE.CONFLICT, now} end

if not retire_all(now) then return {CODE.SWEEP, now} end
if is_buffer_full(100) then return {CODE.FULL, now} end
local amounts, place, limits = cmsgpack.unpack(ARGV[5]), located(cmsgpack.unpack(ARGV[6]))[1], cmsgpack.unpack(ARGV[7])[1]
local raw = redis.call('GET', KEYS[5])
local window = unpack_window(raw)
if is_unopened(place, window) then return {CODE.UNOPENED, now} end

window[7] = plus(window[7], amounts, 1)
if not in_range(window, limits, amounts) then return {CODE.OUT_OF_RANGE, now, raw} end

redis.call('SET', KEYS[4], ARGV[4])
write_window(place, window, raw)
local event = emit('ADJUST', now, {doc = ARGV[8], packed = ARGV[9]}, NOTHING, NOTHING, 0, false, false, ARGV[10])
return {CODE.OK, now, event[1], event[2], event[3], pack_window(window)}
