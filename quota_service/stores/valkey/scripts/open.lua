#!lua flags=allow-oom
-- Open: lets a window begin with something, once for its number.
-- KEYS  1 meta  2 holds  3 events  4 window  5 values key (or the window again)  6 the window before (or the window again)
-- ARGV  1 version  2 from_ms  3 until_ms ('' none)  4 place (msgpack)  5 beginning: ledger | carried | previous | unknown
--       6 what it begins with (msgpack): {spent, overrun, added, moved, spent more, overrun more} | carry | {limits, caps} of the window before, -1 where there is none | ''
--       7 whether the ledger knows it: 1 | 0  8 doc  9 live (msgpack)  10 body for the ledger
-- Reply OK, now, window, event id ('' none), event, its bytes
--       REPLAYED, now, window
--       UNKNOWN, now: it is not open, and what it begins with cannot be told here
--       STALE, now, version | OUTSIDE, now | SWEEP, now
local now, refusal = check_basis(ARGV[1], ARGV[2], ARGV[3])
if refusal then return refusal end
remember(now, ARGV[1])
if not retire_all(now) then return {CODE.SWEEP, now} end

local place, beginning = located({cmsgpack.unpack(ARGV[4])})[1], ARGV[5]
local raw = redis.call('GET', KEYS[4])
local window = unpack_window(raw)
if window[9] == place[3] then return {CODE.REPLAYED, now, raw} end

-- What is left of the window before: see domain/rollover.py.
local function left_of(previous, limits, caps)
  local carry = {0, 0, 0}
  for meter = 1, 3 do
    if limits[meter] >= 0 and caps[meter] >= 0 then
      local left = limit_of(previous, {limits}, meter) - math.max(0, previous[8][meter]) - previous[1][meter] - previous[2][meter]
      carry[meter] = math.min(caps[meter], math.max(0, left))
    end
  end
  return carry
end

local carry = NOTHING
if beginning == 'ledger' then
  local ledger = cmsgpack.unpack(ARGV[6])
  -- What is there is of an earlier budget of the same id, whose calls under way may have charged more than the ledger knows yet.
  window[1] = raw and plus(window[1], ledger[5], 1) or ledger[1]
  window[4] = raw and plus(window[4], ledger[6], 1) or ledger[2]
  window[5], window[6], window[7], window[8] = NOTHING, NOTHING, ledger[3], ledger[4]
elseif beginning == 'carried' then
  carry = cmsgpack.unpack(ARGV[6])
elseif beginning == 'previous' then
  local previous = unpack_window(redis.call('GET', KEYS[6]))
  -- One that was never opened is not whole: it was lost and came back with a late charge, or ended before rollover was switched on.
  if previous[9] ~= place[3] then return {CODE.UNKNOWN, now} end
  local rule = cmsgpack.unpack(ARGV[6])
  carry = left_of(previous, rule[1], rule[2])
else
  return {CODE.UNKNOWN, now}
end

window[7] = plus(window[7], carry, 1)
window[9] = place[3]
write_window(place, window, raw)
local packed = pack_window(window)
if is_nothing(carry) or ARGV[7] == '1' then return {CODE.OK, now, packed, '', '', 0} end
local event = cmsgpack.pack({'ROLLOVER', now, NOTHING, NOTHING, 0, false, false, EPOCH, carry})
return {CODE.OK, now, packed, unpack(append(event, ARGV[8], ARGV[9], ARGV[10]))}
