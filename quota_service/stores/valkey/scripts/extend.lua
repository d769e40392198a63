#!lua
-- Extend: more time, more output tokens, or both. What does not fit is denied and leaves the hold as it was.
-- KEYS  1 meta  2 holds  3 events  4 hold  5.. gauges   (the windows are named by the hold and share the slot)
-- ARGV  1 version  2 from_ms  3 until_ms ('' none)  4 request id ('' none)  5 content hash  6 ttl_ms (0 none)  7 additional output tokens
--       8 terms of the hold's windows, in their order (msgpack): {term, ...}  9 rate terms (msgpack)  10 body for the ledger
-- Reply OK, now, doc, live, event id, event, its bytes, windows after...     (nothing changed: event id '', event '', 0)
--       REPLAYED, now, doc, live, '', '', 0, windows...
--       DENIED, now, next expiry (0 none), {windows}, {gauges}
--       STALE, now, version | OUTSIDE, now | SWEEP, now | CONFLICT, now | ENDED, now | UNKNOWN, now | TOO_LARGE, now | FULL, now
local now, refusal = check_basis(ARGV[1], ARGV[2], ARGV[3])
if refusal then return refusal end
remember(now, ARGV[1])
if not retire_all(now) then return {CODE.SWEEP, now} end

local hold = read_hold(KEYS[4])
if not hold then return {CODE.UNKNOWN, now} end
if hold.state ~= 'HELD' then return {CODE.ENDED, now} end

local known = ARGV[4] ~= '' and hold.requests[ARGV[4]]
if known and known ~= ARGV[5] then return {CODE.CONFLICT, now} end
if known then return {CODE.REPLAYED, now, hold.doc, hold.packed, '', '', 0, unpack(read_windows(hold.windows))} end

if is_buffer_full(70) then return {CODE.FULL, now} end
local granted = hold.granted + tonumber(ARGV[7])
local pico = price(hold.rates, {hold.input, 0, 0, granted, hold.own_cost})
if pico > PICO_MAX then return {CODE.TOO_LARGE, now} end

local before = remaining(hold)
local held = {micros(pico), hold.input + granted, 1}
local more = plus(beyond(held, hold.charged), before, -1)
local adds = not is_nothing(more)

local terms, raw, windows, denied = cmsgpack.unpack(ARGV[8]), {}, {}, false
for i, place in ipairs(hold.windows) do
  raw[i] = redis.call('GET', place[2])
  windows[i] = unpack_window(raw[i])
  if adds then
    local term = terms[i]
    local short = short_meters(windows[i], more, term)
    if term[3] then
      denied = denied or #short > 0
    else
      count_blocked(windows[i], short, more)
    end
  end
end
local rates, gauges, raw_gauges = cmsgpack.unpack(ARGV[9]), {}, {}
for i, rate in ipairs(rates) do
  gauges[i], raw_gauges[i] = read_gauge(rate[1])
  denied = denied or (more[rate[2]] > 0 and more[rate[2]] > room_of(rate, gauges[i], now))
end
if denied then
  local first = redis.call('ZRANGE', HOLDS, 0, 0, 'WITHSCORES')
  return {CODE.DENIED, now, tonumber(first[2]) or 0, raw, raw_gauges}
end

local ttl, expire = tonumber(ARGV[6]), hold.expire
if ttl > 0 then expire = math.min(hold.create + LIFETIME_MS, math.max(expire, now + ttl)) end
if ARGV[4] == '' and expire == hold.expire and not adds then
  return {CODE.OK, now, hold.doc, hold.packed, '', '', 0, unpack(raw)}
end
hold.expire, hold.granted, hold.held = expire, granted, held
if ARGV[4] ~= '' then hold.requests[ARGV[4]] = ARGV[5] end
local after = {}
for i, window in ipairs(windows) do
  window[2] = plus(window[2], more, 1)
  after[i] = write_window(hold.windows[i], window, raw[i])
end
for i, rate in ipairs(rates) do
  if more[rate[2]] > 0 then take(hold.marks, rate, gauges[i], more[rate[2]], now) end
end
write_hold(hold)
redis.call('ZADD', HOLDS, int(expire), id_of(hold.key))
local event = emit('EXTEND', now, hold, NOTHING, NOTHING, 0, false, false, ARGV[10])
return {CODE.OK, now, hold.doc, hold.packed, event[1], event[2], event[3], unpack(after)}
