-- Windows: what has been spent and is held, and what their limits are.

local function empty_window()
  return {nothing(), nothing(), 0, nothing(), nothing(), nothing(), nothing(), nothing(), 0}
end

local function unpack_window(raw)
  return raw and cmsgpack.unpack(raw) or empty_window()
end

-- A window, and as it is kept (false: it is not).
local function read_window(key)
  local raw = redis.call('GET', key)
  return unpack_window(raw), raw
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
  return (place[5] or 0) ~= 0 and window[9] ~= place[5]
end

-- Whether charges still count in a window: one that ended long ago is the ledger's alone.
local function is_kept(place, now)
  return place[1] == 0 or now < place[1] + OUTLIVE_MS
end

-- When a window is forgotten.
local function forget_ms(place)
  return int(place[1] + OUTLIVE_MS + (place[6] or 0))
end

-- Keeps the set of values that have a counter, where their number is bounded.
local function count_value(place, window)
  local values, value = place[3], place[4]
  if values == '' then return end
  if is_unused(window) then
    redis.call('SREM', values, value)
  elseif redis.call('SADD', values, value) == 1 and place[1] ~= 0 then
    redis.call('PEXPIREAT', values, forget_ms(place))
  end
end

-- Writes a window and returns it packed; a counter without anything disappears, so that unused values cost nothing.
local function write_window(place, window, existed)
  local end_ms, key = place[1], place[2]
  local packed = cmsgpack.pack(window)
  count_value(place, window)
  if is_empty(window) then
    redis.call('DEL', key)
  elseif existed then
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
  return packed
end

-- Adds to every window of a hold that is still kept. Returns the packed windows after, false for those that are not there.
local function move(places, now, spent, held, holds, overrun)
  local after = {}
  for i, place in ipairs(places) do
    local raw = redis.call('GET', place[2])
    after[i] = raw
    if is_kept(place, now) then
      local window = unpack_window(raw)
      window[1] = plus(window[1], spent, 1)
      window[2] = plus(window[2], held, 1)
      window[3] = window[3] + holds
      window[4] = plus(window[4], overrun, 1)
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
