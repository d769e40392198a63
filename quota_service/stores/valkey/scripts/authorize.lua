#!lua
-- Authorize: for each of some requests, one after the other, holds the first alternative that fits in every window and rate limit of its own, with
-- the largest grant of output tokens. Requests of a kind share windows and limits, which are told, read and written once.
-- KEYS  1 meta  2 holds  3 events  then for each request its idempotency key and its hold, then windows, values keys and gauges of all kinds
-- ARGV  1 version  2 from_ms  3 until_ms ('' none)  4 whether anything may be held: 1 | 0  5 how many kinds, each (msgpack):
--         places, terms, rate terms
--       then how many requests, each:
--         intent: hold | dry | refused, content hash, ttl_ms, how many alternatives, each:
--           which kind, demand {least, most, input, fixed_pico, pico_per_token} (msgpack), doc
-- Reply OK, now, epoch, then for each request one of
--         OK, expire_ms, event id, its bytes, alternative from 0, granted, {windows after}, asked | false     (dry: expire_ms 0, event id '', windows
--           as they are), where asked is what stood in the way of the first alternative: {windows}, {gauges}, full (msgpack positions from 0
--           of those that have no counter left for a new value: terms, then rate terms)
--         REPLAYED, doc, live, {windows}
--         REFUSED | CONFLICT | ENDED | UNOPENED | FULL
--         DENIED, next expiry (0 none), {windows}, {gauges}, full     (of the first alternative)
--       STALE, now, version | OUTSIDE, now | SWEEP, now
local now, refusal = check_basis(ARGV[1], ARGV[2], ARGV[3])
if refusal then return refusal end

if ARGV[4] == '1' then
  remember(now, ARGV[1])
  if not retire_all(now) then return {CODE.SWEEP, now} end
elseif due_remain(now) then
  return {CODE.SWEEP, now}
end

local read_to = 4

local function argument()
  read_to = read_to + 1
  return ARGV[read_to]
end

local kinds = {}
for i = 1, tonumber(argument()) do
  kinds[i] = {places = located(cmsgpack.unpack(argument())), terms = cmsgpack.unpack(argument()), rates = cmsgpack.unpack(argument())}
end

local gauges, streamed = {}, 0 -- each gauge is read once, too

local function gauge_of(rate)
  if not gauges[rate[1]] then gauges[rate[1]] = read_gauge(rate[1]) end
  return gauges[rate[1]]
end

-- Weighs an alternative: `grant` is the largest that fits, or nil.
local function weigh(kind, demand, doc)
  local offer = {kind = kind, demand = demand, doc = doc, full = {}}
  local most, wanted = demand[2], needed(demand, demand[2])
  for i, term in ipairs(kind.terms) do
    local place = kind.places[i]
    local window = window_at(place)[1]
    if is_unopened(place, window) then offer.unopened = true end
    if term[3] then
      most = math.min(most, tokens_in_window(window, term, demand, wanted))
      if term[4] > 0 and is_unused(window) and redis.call('SCARD', (values_of(place))) >= term[4] then offer.full[#offer.full + 1] = i - 1 end
    end
  end
  for i, rate in ipairs(kind.rates) do
    local gauge = gauge_of(rate)
    most = math.min(most, tokens_in(room_of(rate, gauge, now), demand, rate[2]))
    if is_full(rate, gauge, now) then offer.full[#offer.full + 1] = #kind.terms + i - 1 end
  end
  if most >= demand[1] and #offer.full == 0 then offer.grant = most end
  return offer
end

-- What stood in an offer's way: windows, gauges, and what is full.
local function obstacles(offer)
  local packed = {}
  for i, rate in ipairs(offer.kind.rates) do
    packed[i] = cmsgpack.pack(gauge_of(rate))
  end
  return standing(offer.kind.places), packed, cmsgpack.pack(offer.full)
end

-- Takes what an offer needs from its windows and rate limits; returns the demand and the marks.
local function taken(offer)
  local kind, demand, marks = offer.kind, needed(offer.demand, offer.grant), {}
  for i, term in ipairs(kind.terms) do
    local place = kind.places[i]
    local entry = window_at(place)
    local window = entry[1]
    if not term[3] then count_blocked(window, short_meters(window, demand, term), demand) end
    window[2] = plus(window[2], demand, 1)
    window[3] = window[3] + 1
    changed(entry, place)
  end
  for _, rate in ipairs(kind.rates) do
    take(marks, rate, gauge_of(rate), demand[rate[2]], now)
  end
  return demand, marks
end

-- Holds what was offered. Returns when the hold expires, its event's id, and the event's bytes.
local function held(offer, again, key, content_hash, ttl)
  local demand, marks = taken(offer)
  local hold = {
    key = key, doc = offer.doc, state = 'HELD', create = now, expire = now + ttl, ended = 0, granted = offer.grant, held = demand,
    charged = NOTHING, pico = 0, parts = 0, late_parts = 0, settle_hash = '', settlement = false, marks = marks, requests = {},
  }
  write_hold(hold)
  local id = id_of(key)
  redis.call('SET', again, content_hash .. ' ' .. id)
  redis.call('ZADD', HOLDS, int(hold.expire), id)
  local event = stream(event_of('HOLD', now, NOTHING, NOTHING, 0, false, false), hold.doc, hold.packed, '')
  streamed = streamed + event[3]
  return hold.expire, event[1], event[3]
end

-- What is answered to who asked with the same key before; nil: nobody holds anything for it.
local function repeated(again, content_hash)
  local known = redis.call('GET', again)
  local hash, id = string.match(known or '', '^(%S+) (.+)$')
  local hold = hash and read_hold(HOLD .. id)
  if not hold then return nil end
  if hold.state ~= 'HELD' then return {CODE.ENDED} end
  if hash ~= content_hash then return {CODE.CONFLICT} end
  return {CODE.REPLAYED, hold.doc, hold.packed, standing(hold.windows)}
end

local function arguments_of_request()
  local request = {intent = argument(), content_hash = argument(), ttl = tonumber(argument()), offers = {}}
  for i = 1, tonumber(argument()) do
    request.offers[i] = {argument(), argument(), argument()}
  end
  return request
end

local function decided(request, again, key)
  local intent, content_hash = request.intent, request.content_hash
  local before = repeated(again, content_hash)
  if before then return before end
  if intent == 'refused' then return {CODE.REFUSED} end
  if is_buffer_full(70) then return {CODE.FULL} end

  local asked
  for position, parts in ipairs(request.offers) do
    local offer = weigh(kinds[tonumber(parts[1])], cmsgpack.unpack(parts[2]), parts[3])
    if offer.unopened then return {CODE.UNOPENED} end
    asked = asked or offer
    if offer.grant then
      local passed_over = offer ~= asked and {obstacles(asked)}
      local expire, id, bytes = 0, '', 0
      if intent == 'hold' then expire, id, bytes = held(offer, again, key, content_hash, request.ttl) end
      return {CODE.OK, expire, id, bytes, position - 1, offer.grant, standing(offer.kind.places), passed_over}
    end
  end
  local next_hold = redis.call('ZRANGE', HOLDS, 0, 0, 'WITHSCORES')
  return {CODE.DENIED, tonumber(next_hold[2]) or 0, obstacles(asked)}
end

local reply = {CODE.OK, now, EPOCH}
for i = 1, tonumber(argument()) do
  reply[3 + i] = alone(decided, arguments_of_request(), KEYS[2 * i + 2], KEYS[2 * i + 3])
end
write_together()
if streamed > 0 then redis.call('HINCRBY', META, 'waiting', streamed) end
return reply
