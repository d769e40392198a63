#!lua
-- Authorize: holds a demand in every window of the terms, all or nothing.
-- KEYS  1 meta  2 holds  3 events  4 idempotency key  5 hold  6.. window, values key (or the window again), for each term
-- ARGV  1 version  2 from_ms  3 until_ms ('' none)  4 intent: hold | dry | refused  5 content hash  6 ttl_ms  7 demand (msgpack)
--       8 granted output tokens  9 doc  10 windows (msgpack)  11 terms (msgpack): {term, ...}
-- Reply OK, now, expire_ms, event id, windows after...     (dry: expire_ms 0, event id '', windows as they are)
--       REPLAYED, now, doc, live, windows...
--       REFUSED, now
--       DENIED, now, next expiry (0 none), full terms (msgpack positions from 0), windows...
--       STALE, now, version | OUTSIDE, now | SWEEP, now | CONFLICT, now | ENDED, now
local intent = ARGV[4]

local now, refusal = check_basis(ARGV[1], ARGV[2], ARGV[3])
if refusal then return refusal end

if intent == 'hold' then
  remember(now, ARGV[1])
  if not retire_all(now) then return {CODE.SWEEP, now} end
elseif due_remain(now) then
  return {CODE.SWEEP, now}
end

local known = redis.call('GET', KEYS[4])
if known then
  local hash, key = string.match(known, '^(%S+) (.+)$')
  local hold = read_hold(key)
  if hold and hold.state ~= 'HELD' then return {CODE.ENDED, now} end
  if hold and hash ~= ARGV[5] then return {CODE.CONFLICT, now} end
  if hold then return {CODE.REPLAYED, now, hold.doc, hold.packed, unpack(read_windows(hold.windows))} end
end

if intent == 'refused' then return {CODE.REFUSED, now} end

local demand, places, terms = cmsgpack.unpack(ARGV[7]), cmsgpack.unpack(ARGV[10]), cmsgpack.unpack(ARGV[11])
local raw, windows, denied, full = {}, {}, false, {}
for i, term in ipairs(terms) do
  local place = places[i]
  raw[i] = redis.call('GET', place[2])
  local window = unpack_window(raw[i])
  windows[i] = window
  local short = short_meters(window, demand, term)
  if term[3] then
    denied = denied or #short > 0
  else
    count_blocked(window, short, demand)
  end
  if term[3] and term[4] > 0 and not raw[i] and redis.call('SCARD', place[3]) >= term[4] then
    full[#full + 1] = i - 1
  end
end

if denied or #full > 0 then
  local first = redis.call('ZRANGE', HOLDS, 0, 0, 'WITHSCORES')
  return {CODE.DENIED, now, tonumber(first[2]) or 0, cmsgpack.pack(full), unpack(raw)}
end

if intent == 'dry' then return {CODE.OK, now, 0, '', unpack(raw)} end

local hold = {
  key = KEYS[5], doc = ARGV[9], state = 'HELD', create = now, expire = now + tonumber(ARGV[6]), ended = 0, granted = tonumber(ARGV[8]),
  held = demand, charged = nothing(), pico = 0, parts = 0, late_parts = 0, settle_hash = '', settlement = false,
}
local after = {}
for i, window in ipairs(windows) do
  window[2] = plus(window[2], demand, 1)
  window[3] = window[3] + 1
  write_window(places[i], window, raw[i])
  after[i] = cmsgpack.pack(window)
end
redis.call('HSET', hold.key, 'doc', hold.doc, 'windows', ARGV[10])
write_hold(hold)
redis.call('SET', KEYS[4], ARGV[5] .. ' ' .. hold.key)
redis.call('ZADD', HOLDS, int(hold.expire), hold.key)
local event = emit('HOLD', now, hold, nothing(), nothing(), 0, false, false, '')
return {CODE.OK, now, hold.expire, event[1], unpack(after)}
