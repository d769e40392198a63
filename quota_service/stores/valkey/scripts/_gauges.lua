-- Gauges: where rate limits stand. A gauge is {debt, at}: a debt that drains by `leak` a millisecond, in units of 1/`scale` of a token or
-- request. A rate term is {gauge key, meter, leak, scale, values key | '', each value, burst, max values}, a mark is what a hold has taken:
-- {key, meter, leak, scale, values key | '', each value, amount, debt, at}, with the gauge as it was then. Where values are bounded, the values
-- key is a sorted set of those in use, by when they have drained. All numbers are integers below 2^53; a product above it is far more than any debt.

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
  local free = math.max(0, term[7] * term[4] - drained(gauge[1], gauge[2], term[3], now))
  return (free - math.fmod(free, term[4])) / term[4]
end

-- Whether a value that is not in use finds as many others in use as there may be.
local function is_full(term, gauge, now)
  if term[8] == 0 or drained(gauge[1], gauge[2], term[3], now) > 0 then return false end
  return redis.call('ZCOUNT', term[5], '(' .. int(now), '+inf') >= term[8]
end

-- Writes the gauge of a term or mark; it disappears when it has drained, because then it says nothing.
local function write_gauge(of, debt, now)
  local key, leak, values, value = of[1], of[3], of[5], of[6]
  local drained_at = int(now + math.ceil(debt / leak))
  if debt == 0 then
    redis.call('DEL', key)
  else
    redis.call('SET', key, cmsgpack.pack({debt, now}), 'PXAT', drained_at)
  end
  if values ~= '' then
    redis.call('ZREMRANGEBYSCORE', values, '-inf', int(now))
    if debt > 0 then redis.call('ZADD', values, drained_at, value) else redis.call('ZREM', values, value) end
  end
end

-- Takes an amount from a gauge, whether it fits or not, and marks it: a hold has one mark a gauge.
local function take(marks, term, gauge, amount, now)
  local debt = math.min(DEBT_MAX, drained(gauge[1], gauge[2], term[3], now) + amount * term[4])
  write_gauge(term, debt, now)
  for _, mark in ipairs(marks) do
    if mark[1] == term[1] then
      mark[7], mark[8], mark[9] = mark[7] + amount, debt, now
      return
    end
  end
  marks[#marks + 1] = {term[1], term[2], term[3], term[4], term[5], term[6], amount, debt, now}
end

-- Corrects the gauges of a hold: what was not used returns as far as time has not given it back already; what was used above is taken.
local function settle_gauges(marks, now, returned, overrun)
  for _, mark in ipairs(marks) do
    local meter, leak, scale = mark[2], mark[3], mark[4]
    local unused, over = math.min(returned[meter], mark[7]), overrun[meter]
    if unused > 0 or over > 0 then
      local gauge = read_gauge(mark[1])
      local debt = drained(gauge[1], gauge[2], leak, now)
      debt = math.max(0, debt - math.min(unused * scale, drained(mark[8], mark[9], leak, now)))
      write_gauge(mark, math.min(DEBT_MAX, debt + over * scale), now)
    end
  end
end
