-- Shared by every verb; put in front of it when the scripts are loaded.
--
-- KEYS[1..3] are the same for all: the organization's meta hash (version, time), its live holds by expiry (members are hold keys), and
-- its stream of events for the ledger. Values are MessagePack arrays, whose integers are exact up to 2^53:
--   window  {spent, held, holds, overrun, blocked_requests, blocked, added, moved, opened}, all but `holds` and `opened` one number a
--           meter: {cost, tokens, requests}; `added` and `moved` change its limit
--   term    {limits, percent, blocks, max values}: limits are -1 where there is none; `percent` of them is the ceiling
--   live    {state, create, expire, ended, granted, held, charged, pico, parts, late_parts, settle_hash, settlement | false},
--           where settlement is {charged, returned, overrun}: the moving part of a hold
--   windows {{end_ms (0: none), window key, values key | '', each value, opening, keep_ms}, ...}: where a hold counts
--   event   {type, at, charged, overrun, pico, late, final}; in the stream as field `e`, beside `doc`, `live` and `body`
-- A hold is a hash: `doc` (JSON, fixed, the caller's), `windows`, `live`, and `x:<request_id>` for each Extend.
--
-- Replies are {code, now, ...}; `now` is the store's clock in ms, never behind the last time seen for the organization.

local META, HOLDS, EVENTS = KEYS[1], KEYS[2], KEYS[3]

local CODE = {
  OK = 1,              -- done
  REPLAYED = 2,        -- had been done before
  REFUSED = 3,         -- nothing to do: the caller's own denial is current
  DENIED = -1,         -- no room
  STALE = -2,          -- the caller's configuration is older than {version}
  OUTSIDE = -3,        -- a window or price of the caller's does not hold now
  SWEEP = -4,          -- due holds remain: sweep, then ask again
  CONFLICT = -5,       -- used before with other content
  ENDED = -6,          -- the reservation has ended
  UNKNOWN = -7,        -- no such reservation here
  TOO_LARGE = -8,      -- above what one request may cost
  PRICE_REFUSED = -9,  -- an own price where the catalogue prices
  UNOPENED = -10,      -- a window must be opened first: it begins with something
}

local DUE_PER_SCRIPT = 50              -- bounds the work that a caller does for others
local OUTLIVE_MS = 48 * 3600 * 1000    -- windows stay this long after their end
local LIFETIME_MS = 24 * 3600 * 1000   -- no hold lives longer
local PICO_MAX = 9e15                  -- what one request may cost; below 2^53
local LIMIT_MAX = 9e14                 -- what a window's limit may be; ten times as much is below 2^53

local function int(number)
  return string.format('%.0f', number)
end

local function read_meta()
  local meta = redis.call('HMGET', META, 'version', 'time')
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  return math.max(now, tonumber(meta[2]) or 0), tonumber(meta[1]) or 0
end

-- Checks the caller's basis. Returns now, and a refusal or nil.
local function check_basis(version, from, until_ms)
  local now, current = read_meta()
  version = tonumber(version)
  if version < current then
    return now, {CODE.STALE, now, current}
  end
  if now < tonumber(from) or (until_ms ~= '' and now >= tonumber(until_ms)) then
    return now, {CODE.OUTSIDE, now}
  end
  return now, nil
end

local function remember(now, version)
  if version then
    redis.call('HSET', META, 'time', int(now), 'version', version)
  else
    redis.call('HSET', META, 'time', int(now))
  end
end

-- Amounts ---------------------------------------------------------------------------------------------------------------------

local function nothing()
  return {0, 0, 0}
end

local function plus(a, b, sign)
  return {a[1] + sign * b[1], a[2] + sign * b[2], a[3] + sign * b[3]}
end

local function at_least(a, b)
  return {math.max(a[1], b[1]), math.max(a[2], b[2]), math.max(a[3], b[3])}
end

local function beyond(a, b)
  return at_least(plus(a, b, -1), nothing())
end

local function is_nothing(a)
  return a[1] == 0 and a[2] == 0 and a[3] == 0
end

-- Windows ---------------------------------------------------------------------------------------------------------------------

local function empty_window()
  return {nothing(), nothing(), 0, nothing(), nothing(), nothing(), nothing(), nothing(), 0}
end

local function unpack_window(raw)
  return raw and cmsgpack.unpack(raw) or empty_window()
end

-- Whether nothing has happened in a window that would be missed.
local function is_empty(window)
  return is_nothing(window[1]) and is_nothing(window[2]) and window[3] == 0 and is_nothing(window[5]) and is_nothing(window[7])
    and is_nothing(window[8]) and window[9] == 0
end

-- Whether a window must first be opened: it begins with something, and does not have it yet.
local function is_unopened(place, window)
  return (place[5] or 0) ~= 0 and window[9] ~= place[5]
end

-- When a window is forgotten.
local function forget_ms(place)
  return int(place[1] + OUTLIVE_MS + (place[6] or 0))
end

-- Writes a window; a counter without anything disappears, so that unused values cost nothing.
local function write_window(place, window, existed)
  local end_ms, key, values, value = place[1], place[2], place[3], place[4]
  if is_empty(window) then
    redis.call('DEL', key)
    if values ~= '' then redis.call('SREM', values, value) end
    return
  end
  local packed = cmsgpack.pack(window)
  if existed then
    redis.call('SET', key, packed, 'KEEPTTL')
    -- The window's end may have been put off since the counter was made; a hold of the earlier end does not bring it back.
    if end_ms == 0 then
      redis.call('PERSIST', key)
    else
      redis.call('PEXPIREAT', key, forget_ms(place), 'GT')
    end
  elseif end_ms == 0 then
    redis.call('SET', key, packed)
  else
    redis.call('SET', key, packed, 'PXAT', forget_ms(place))
  end
  if values ~= '' and not existed then
    redis.call('SADD', values, value)
    if end_ms ~= 0 then redis.call('PEXPIREAT', values, forget_ms(place)) end
  end
end

-- Adds to every window of a hold that is still kept: one that ended long ago is the ledger's alone. Returns the packed windows after,
-- false for those that are not there.
local function move(places, now, spent, held, holds, overrun)
  local after = {}
  for i, place in ipairs(places) do
    local raw = redis.call('GET', place[2])
    after[i] = raw
    if place[1] == 0 or now < place[1] + OUTLIVE_MS then
      local window = unpack_window(raw)
      window[1] = plus(window[1], spent, 1)
      window[2] = plus(window[2], held, 1)
      window[3] = window[3] + holds
      window[4] = plus(window[4], overrun, 1)
      write_window(place, window, raw)
      after[i] = cmsgpack.pack(window)
    end
  end
  return after
end

local function read_windows(places)
  local packed = {}
  for i, place in ipairs(places) do
    packed[i] = redis.call('GET', place[2])
  end
  return packed
end

-- A window's limit in a meter: the budget's, raised or lowered by what the window itself has been given or has lost.
local function limit_of(window, term, meter)
  local limit = term[1][meter] + window[7][meter] + window[8][meter]
  return math.max(0, math.min(LIMIT_MAX, limit))
end

-- That percentage of a limit, rounded down, by hundreds: so every number on the way is exact.
local function percent_of(limit, percent)
  local rest = math.fmod(limit, 100)
  return (limit - rest) / 100 * percent + math.floor(rest * percent / 100)
end

-- Which meters of a window have no room for the demand under a term.
local function short_meters(window, demand, term)
  local short = {}
  for meter = 1, 3 do
    if term[1][meter] >= 0 and window[1][meter] + window[2][meter] + demand[meter] > percent_of(limit_of(window, term, meter), term[2]) then
      short[#short + 1] = meter
    end
  end
  return short
end

-- Counts, in a window that does not block, what a hard one would have blocked.
local function count_blocked(window, short, demand)
  for _, meter in ipairs(short) do
    window[5][meter] = window[5][meter] + 1
    window[6][meter] = window[6][meter] + demand[meter]
  end
end

-- Holds -----------------------------------------------------------------------------------------------------------------------

local function read_hold(key)
  local fields = redis.call('HMGET', key, 'doc', 'windows', 'live')
  if not fields[1] then return nil end
  local live = cmsgpack.unpack(fields[3])
  return {
    key = key, doc = fields[1], windows = cmsgpack.unpack(fields[2]), packed = fields[3],
    state = live[1], create = live[2], expire = live[3], ended = live[4], granted = live[5], held = live[6], charged = live[7],
    pico = live[8], parts = live[9], late_parts = live[10], settle_hash = live[11], settlement = live[12],
  }
end

local function write_hold(hold)
  hold.packed = cmsgpack.pack({
    hold.state, hold.create, hold.expire, hold.ended, hold.granted, hold.held, hold.charged,
    hold.pico, hold.parts, hold.late_parts, hold.settle_hash, hold.settlement,
  })
  redis.call('HSET', hold.key, 'live', hold.packed)
end

local function remaining(hold)
  if hold.state ~= 'HELD' then return nothing() end
  return beyond(hold.held, hold.charged)
end

local function emit(type, now, hold, charged, overrun, pico, late, final, body)
  local event = cmsgpack.pack({type, now, charged, overrun, pico, late, final})
  return {redis.call('XADD', EVENTS, '*', 'e', event, 'doc', hold.doc, 'live', hold.packed, 'body', body), event}
end

-- Ends a held reservation by release or expiry. Returns what returned, the windows after, and the event.
local function finish(hold, state, type, now, body)
  local rest = remaining(hold)
  hold.state, hold.ended = state, now
  write_hold(hold)
  redis.call('ZREM', HOLDS, hold.key)
  local after = move(hold.windows, now, nothing(), plus(nothing(), rest, -1), -1, nothing())
  return rest, after, emit(type, now, hold, nothing(), nothing(), 0, false, true, body)
end

local function due_remain(now)
  return #redis.call('ZRANGEBYSCORE', HOLDS, '-inf', int(now), 'LIMIT', 0, 1) > 0
end

-- Retires at most `limit` due holds; returns how many.
local function retire(now, limit)
  local due = redis.call('ZRANGEBYSCORE', HOLDS, '-inf', int(now), 'LIMIT', 0, limit)
  for _, key in ipairs(due) do
    local hold = read_hold(key)
    if hold and hold.state == 'HELD' then
      finish(hold, 'EXPIRED', 'EXPIRE', now, '')
    else
      redis.call('ZREM', HOLDS, key)
    end
  end
  if #due > 0 then remember(now) end
  return #due
end

-- Retires what is due, as far as one caller can be asked to. Returns whether nothing due remains: only then may a script decide on, or
-- report, what is held.
local function retire_all(now)
  return retire(now, DUE_PER_SCRIPT) < DUE_PER_SCRIPT or not due_remain(now)
end

-- Prices ----------------------------------------------------------------------------------------------------------------------

-- Usage {input, cached, cache write, output, own cost in micros | -1} at rates {{above, input, cached, cache write, output}, ...}, in pico-USD.
local function price(rates, usage)
  if usage[5] >= 0 then return usage[5] * 1e6 end
  local rate = rates[1]
  for _, candidate in ipairs(rates) do
    if usage[1] > candidate[1] then rate = candidate end
  end
  local plain = usage[1] - usage[2] - usage[3]
  return plain * rate[2] + usage[2] * rate[3] + usage[3] * rate[4] + usage[4] * rate[5]
end

-- Rounded up. fmod is exact by definition.
local function micros(pico)
  local rest = math.fmod(pico, 1e6)
  return (pico - rest) / 1e6 + (rest > 0 and 1 or 0)
end

-- Body ------------------------------------------------------------------------------------------------------------------------
