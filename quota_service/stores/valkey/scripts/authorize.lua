#!lua
-- Authorize: holds the first alternative that fits in every window and rate limit of its own, with the largest grant of output tokens.
-- KEYS  1 meta  2 holds  3 events  4 idempotency key  5 hold  6.. windows, values keys and gauges of all alternatives
-- ARGV  1 version  2 from_ms  3 until_ms ('' none)  4 intent: hold | dry | refused  5 content hash  6 ttl_ms  7.. for each alternative, msgpack:
--       terms, rate terms, demand {least, most, input, fixed_pico, pico_per_token}, doc
-- Reply OK, now, expire_ms, event id, its bytes, alternative from 0, granted, {windows after}, asked | false, epoch     (dry: expire_ms 0, event id '',
--       windows as they are), where asked is what stood in the way of the first alternative: {windows}, {gauges}, full (msgpack positions from 0
--       of those that have no counter left for a new value: terms, then rate terms)
--       REPLAYED, now, doc, live, {windows}
--       REFUSED, now
--       DENIED, now, next expiry (0 none), {windows}, {gauges}, full     (of the first alternative)
--       STALE, now, version | OUTSIDE, now | SWEEP, now | CONFLICT, now | ENDED, now | UNOPENED, now | FULL, now
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
  local hash, id = string.match(known, '^(%S+) (.+)$')
  local hold = read_hold(HOLD .. id)
  if hold and hold.state ~= 'HELD' then return {CODE.ENDED, now} end
  if hold and hash ~= ARGV[5] then return {CODE.CONFLICT, now} end
  if hold then return {CODE.REPLAYED, now, hold.doc, hold.packed, read_windows(hold.windows)} end
end

if intent == 'refused' then return {CODE.REFUSED, now} end
if is_buffer_full(70) then return {CODE.FULL, now} end

-- Windows and gauges by key, each read once: alternatives share most of theirs.
local found, raw_of = {}, {}

local function once(key, reader)
  if not found[key] then found[key], raw_of[key] = reader(key) end
  return found[key], raw_of[key]
end

-- Reads an alternative and weighs it: `grant` is the largest that fits, or nil.
local function weigh(first)
  local offer = {
    terms = cmsgpack.unpack(ARGV[first]), rates = cmsgpack.unpack(ARGV[first + 1]), demand = cmsgpack.unpack(ARGV[first + 2]),
    places = located(fixed_of(ARGV[first + 3])[1]), raw = {}, windows = {}, full = {}, gauges = {}, raw_gauges = {},
  }
  local most, wanted = offer.demand[2], needed(offer.demand, offer.demand[2])
  for i, term in ipairs(offer.terms) do
    local place = offer.places[i]
    local window, raw = once(place[2], read_window)
    offer.raw[i], offer.windows[i] = raw, window
    if is_unopened(place, window) then offer.unopened = true end
    if term[3] then
      most = math.min(most, tokens_in_window(window, term, offer.demand, wanted))
      if term[4] > 0 and is_unused(window) and redis.call('SCARD', (values_of(place))) >= term[4] then offer.full[#offer.full + 1] = i - 1 end
    end
  end
  for i, rate in ipairs(offer.rates) do
    offer.gauges[i], offer.raw_gauges[i] = once(rate[1], read_gauge)
    most = math.min(most, tokens_in(room_of(rate, offer.gauges[i], now), offer.demand, rate[2]))
    if is_full(rate, offer.gauges[i], now) then offer.full[#offer.full + 1] = #offer.terms + i - 1 end
  end
  if most >= offer.demand[1] and #offer.full == 0 then offer.grant = most end
  return offer
end

local asked, chosen, choice
for first = 7, #ARGV, 4 do
  local offer = weigh(first)
  if offer.unopened then return {CODE.UNOPENED, now} end
  asked = asked or offer
  if offer.grant then
    chosen, choice = offer, first
    break
  end
end

if not chosen then
  local next_hold = redis.call('ZRANGE', HOLDS, 0, 0, 'WITHSCORES')
  return {CODE.DENIED, now, tonumber(next_hold[2]) or 0, asked.raw, asked.raw_gauges, cmsgpack.pack(asked.full)}
end

local passed_over = chosen ~= asked and {asked.raw, asked.raw_gauges, cmsgpack.pack(asked.full)}
local position = (choice - 7) / 4
if intent == 'dry' then return {CODE.OK, now, 0, '', 0, position, chosen.grant, chosen.raw, passed_over, EPOCH} end

local demand = needed(chosen.demand, chosen.grant)
local hold = {
  key = KEYS[5], doc = ARGV[choice + 3], state = 'HELD', create = now, expire = now + tonumber(ARGV[6]), ended = 0, granted = chosen.grant,
  held = demand, charged = NOTHING, pico = 0, parts = 0, late_parts = 0, settle_hash = '', settlement = false, marks = {}, requests = {},
}
local after = {}
for i, window in ipairs(chosen.windows) do
  local term = chosen.terms[i]
  if not term[3] then count_blocked(window, short_meters(window, demand, term), demand) end
  window[2] = plus(window[2], demand, 1)
  window[3] = window[3] + 1
  after[i] = write_window(chosen.places[i], window, chosen.raw[i])
end
for i, rate in ipairs(chosen.rates) do
  take(hold.marks, rate, chosen.gauges[i], demand[rate[2]], now)
end
write_hold(hold)
local id = id_of(hold.key)
redis.call('SET', KEYS[4], ARGV[5] .. ' ' .. id)
redis.call('ZADD', HOLDS, int(hold.expire), id)
local event = emit('HOLD', now, hold, NOTHING, NOTHING, 0, false, false, '')
return {CODE.OK, now, hold.expire, event[1], event[3], position, hold.granted, after, passed_over, EPOCH}
