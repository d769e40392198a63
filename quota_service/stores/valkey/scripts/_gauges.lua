-- Gauges: where rate limits stand. A gauge is {debt, at}: a debt that drains by `leak` a millisecond, in units of 1/`scale` of a token or
-- request. A rate term is {gauge key, meter, leak, scale, burst}, a mark is what a hold has taken: {key, meter, leak, scale, amount, debt, at},
-- with the gauge as it was then. All numbers are integers below 2^53; a product above it is far more than any debt.

local DEBT_MAX = 9e15

local function read_gauge(key)
  local raw = redis.call('GET', key)
  return raw and cmsgpack.unpack(raw) or {0, 0}, raw
end

local function drained(debt, at, leak, now)
  if debt == 0 then return 0 end
  return math.max(0, debt - leak * (now - at))
end

-- How many tokens or requests fit now.
local function room_of(term, gauge, now)
  local free = math.max(0, term[5] * term[4] - drained(gauge[1], gauge[2], term[3], now))
  return (free - math.fmod(free, term[4])) / term[4]
end

-- Writes a gauge; it disappears when it has drained, because then it says nothing.
local function write_gauge(key, debt, leak, now)
  if debt == 0 then
    redis.call('DEL', key)
  else
    redis.call('SET', key, cmsgpack.pack({debt, now}), 'PXAT', int(now + math.ceil(debt / leak) + 1))
  end
end

-- Takes an amount from a gauge, whether it fits or not, and marks it: a hold has one mark a gauge.
local function take(marks, term, gauge, amount, now)
  local key, leak, scale = term[1], term[3], term[4]
  local debt = math.min(DEBT_MAX, drained(gauge[1], gauge[2], leak, now) + amount * scale)
  write_gauge(key, debt, leak, now)
  for _, mark in ipairs(marks) do
    if mark[1] == key then
      mark[5], mark[6], mark[7] = mark[5] + amount, debt, now
      return
    end
  end
  marks[#marks + 1] = {key, term[2], leak, scale, amount, debt, now}
end

-- Corrects the gauges of a hold: what was not used returns as far as time has not given it back already; what was used above is taken.
local function settle_gauges(marks, now, returned, overrun)
  for _, mark in ipairs(marks) do
    local key, meter, leak, scale = mark[1], mark[2], mark[3], mark[4]
    local unused, over = math.min(returned[meter], mark[5]), overrun[meter]
    if unused > 0 or over > 0 then
      local gauge = read_gauge(key)
      local debt = drained(gauge[1], gauge[2], leak, now)
      debt = math.max(0, debt - math.min(unused * scale, drained(mark[6], mark[7], leak, now)))
      write_gauge(key, math.min(DEBT_MAX, debt + over * scale), leak, now)
    end
  end
end
