-- Windows: what has been spent and is held, and what their limits are.

local WINDOWS = BASE .. 'window/'

local function unpack_window(raw)
  if not raw then return {NOTHING, NOTHING, 0, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, 0} end
  local kept = cmsgpack.unpack(raw)
  if kept[9] then return kept end
  return {kept[1], kept[2], kept[3], NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, 0}
end

-- Whether all there is of a window is what is spent and held.
local function is_plain(window)
  if window[9] ~= 0 then return false end
  for part = 4, 8 do
    if window[part] ~= NOTHING and not is_nothing(window[part]) then return false end
  end
  return true
end

local function pack_window(window)
  return cmsgpack.pack(is_plain(window) and {window[1], window[2], window[3]} or window)
end

-- A window, and as it is kept (false: it is not).
local function read_window(key)
  local raw = redis.call('GET', key)
  return unpack_window(raw), raw
end

-- Places as scripts use them: with the window's key in place of its name.
local function located(places)
  for _, place in ipairs(places) do
    place[2] = WINDOWS .. place[2]
  end
  return places
end

-- The key of the values that have a counter in a place's window, and the value that this one is of.
local function values_of(place)
  local start, value = string.match(string.sub(place[2], #WINDOWS + 1), '^([^/]*/[^/]*)/(.*)$')
  return BASE .. 'values/' .. start, value
end

-- Whether nothing counts in a window: its value is then none of those that a tag may have.
local function is_unused(window)
  return is_nothing(window[1]) and is_nothing(window[2]) and window[3] == 0 and is_nothing(window[5])
end

-- Whether there is nothing in a window that would be missed.
local function is_empty(window)
  return is_unused(window) and is_nothing(window[7]) and is_nothing(window[8]) and window[9] == 0
end

-- Whether a window must first be opened: it begins with something, and does not have it yet.
local function is_unopened(place, window)
  return place[3] ~= 0 and window[9] ~= place[3]
end

-- Whether charges still count in a window: one that ended long ago is the ledger's alone.
local function is_kept(place, now)
  return place[1] == 0 or now < place[1] + OUTLIVE_MS
end

-- When a window is forgotten.
local function forget_ms(place)
  return int(place[1] + OUTLIVE_MS + place[4])
end

-- Keeps the set of values that have a counter, where their number is bounded or it is not known whether it is.
local function count_value(place, window)
  if place[5] == 0 then return end
  local values, value = values_of(place)
  if is_unused(window) then
    redis.call('SREM', values, value)
  elseif redis.call('SADD', values, value) == 1 and place[1] ~= 0 then
    redis.call('PEXPIREAT', values, forget_ms(place))
  end
end

-- Writes a window that has been packed; a counter without anything disappears, so that unused values cost nothing.
local function keep_window(place, window, packed, existed)
  local end_ms, key = place[1], place[2]
  if is_empty(window) then
    redis.call('DEL', key)
  elseif end_ms == 0 then
    redis.call('SET', key, packed)
  elseif existed then
    redis.call('SET', key, packed, 'KEEPTTL')
    -- The window's end may have been put off since the counter was made; a hold of the earlier end does not bring it back.
    redis.call('PEXPIREAT', key, forget_ms(place), 'GT')
  else
    redis.call('SET', key, packed, 'PXAT', forget_ms(place))
  end
end

-- Packs and writes a window; returns it packed.
local function write_window(place, window, existed)
  local packed = pack_window(window)
  count_value(place, window)
  keep_window(place, window, packed, existed)
  return packed
end

local function add_to(window, spent, held, holds, overrun)
  window[1] = plus(window[1], spent, 1)
  window[2] = plus(window[2], held, 1)
  window[3] = window[3] + holds
  if not is_nothing(overrun) then window[4] = plus(window[4], overrun, 1) end
end

-- Adds to every window of a hold that is still kept. Returns the packed windows after, false for those that are not there.
local function move(places, now, spent, held, holds, overrun)
  local after = {}
  for i, place in ipairs(places) do
    local raw = redis.call('GET', place[2])
    after[i] = raw
    if is_kept(place, now) then
      local window = unpack_window(raw)
      add_to(window, spent, held, holds, overrun)
      after[i] = write_window(place, window, raw)
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

-- Whether every limit that has been changed by amounts is one that a window may have. What was added and what was moved are each bounded
-- too, so that they stay exact whatever the budget's own limit becomes.
local function in_range(window, limits, amounts)
  for meter = 1, 3 do
    if amounts[meter] ~= 0 then
      local added, moved = window[7][meter], window[8][meter]
      local limit = limits[meter] + added + moved
      if limit < 0 or limit > LIMIT_MAX or math.max(math.abs(added), math.abs(moved)) > LIMIT_MAX then return false end
    end
  end
  return true
end

-- That percentage of a limit, rounded down, by hundreds: so every number on the way is exact.
local function percent_of(limit, percent)
  local rest = math.fmod(limit, 100)
  return (limit - rest) / 100 * percent + math.floor(rest * percent / 100)
end

-- What may be spent and held in a window at most, in a meter that its term limits.
local function ceiling_of(window, term, meter)
  if window[7] == NOTHING and window[8] == NOTHING then return term[5][meter] end
  return percent_of(limit_of(window, term, meter), term[2])
end

-- Which meters of a window have no room for the demand under a term.
local function short_meters(window, demand, term)
  local short = {}
  for meter = 1, 3 do
    if term[1][meter] >= 0 and window[1][meter] + window[2][meter] + demand[meter] > ceiling_of(window, term, meter) then
      short[#short + 1] = meter
    end
  end
  return short
end

-- Counts, in a window that does not block, what a hard one would have blocked.
local function count_blocked(window, short, demand)
  local requests, amounts = {0, 0, 0}, {0, 0, 0}
  for _, meter in ipairs(short) do
    requests[meter], amounts[meter] = 1, demand[meter]
  end
  if #short > 0 then
    window[5], window[6] = plus(window[5], requests, 1), plus(window[6], amounts, 1)
  end
end
