#!lua flags=allow-oom
-- Record: charges windows without a hold, once for its key.
-- KEYS  1 meta  2 holds  3 events  4 marker of the key  5.. windows
-- ARGV  1 version  2 content hash  3 charged (msgpack)  4 pico  5 doc  6 body for the ledger
-- Reply OK, now, event id, event, its bytes, windows after...
--       REPLAYED, now | STALE, now, version | SWEEP, now | CONFLICT, now | UNOPENED, now | FULL, now
local now, refusal = check_basis(ARGV[1], '0', '')
if refusal then return refusal end
remember(now, ARGV[1])

local known = redis.call('GET', KEYS[4])
if known then return {known == ARGV[2] and CODE.REPLAYED or CODE.CONFLICT, now} end

if not retire_all(now) then return {CODE.SWEEP, now} end
if is_buffer_full(100) then return {CODE.FULL, now} end
local charged, pico, places = cmsgpack.unpack(ARGV[3]), tonumber(ARGV[4]), located(fixed_of(ARGV[5])[1])
for _, place in ipairs(places) do
  if is_kept(place, now) and is_unopened(place, unpack_window(redis.call('GET', place[2]))) then return {CODE.UNOPENED, now} end
end
redis.call('SET', KEYS[4], ARGV[2])
local after = move(places, now, charged, NOTHING, 0, NOTHING)
local live = cmsgpack.pack({
  'COMMITTED', now, now, now, 0, NOTHING, charged, pico, 0, 0, ARGV[2], {charged, NOTHING, NOTHING},
})
local event = emit('RECORD', now, {doc = ARGV[5], packed = live}, charged, NOTHING, pico, false, true, ARGV[6])
return {CODE.OK, now, event[1], event[2], event[3], unpack(after)}
