-- Gauges: where rate limits stand. A gauge is {debt, at}: a debt that drains by `leak` a millisecond, in units of 1/`scale` of a token or
-- request. A rate term is {gauge key, meter, leak, scale, values key | '', each value, burst, max values}, a mark is what a hold has taken at once:
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

-- Takes an amount from a gauge, whether it fits or not, and marks it. Marks of which nothing can return any more make room.
local function take(marks, term, gauge, amount, now)
  local debt = math.min(DEBT_MAX, drained(gauge[1], gauge[2], term[3], now) + amount * term[4])
  write_gauge(term, debt, now)
  gauge[1], gauge[2] = debt, now
  for i = #marks, 1, -1 do
    local mark = marks[i]
    if mark[1] == term[1] and drained(mark[8], mark[9], mark[3], now) == 0 then table.remove(marks, i) end
  end
  marks[#marks + 1] = {term[1], term[2], term[3], term[4], term[5], term[6], amount, debt, now}
end

local function between(least, number, most)
  return math.max(least, math.min(most, number))
end

-- Corrects the gauges of a hold: what was used above it is taken; what was not used returns, the latest taken first, as far as time has not
-- given it back already. `unused` is negative where what had returned was used after all: it is taken again, as far as it would still be there.
local function settle_gauges(marks, now, unused, overrun)
  local left = {}
  for i = #marks, 1, -1 do
    local mark = marks[i]
    local key, meter, leak, scale = mark[1], mark[2], mark[3], mark[4]
    local over = left[key] and 0 or overrun[meter]
    local part = between(-mark[7], left[key] or unused[meter], mark[7])
    left[key] = (left[key] or unused[meter]) - part
    if part ~= 0 or over > 0 then
      local gauge, own = read_gauge(key), drained(mark[8], mark[9], leak, now)
      local debt = math.min(DEBT_MAX, drained(gauge[1], gauge[2], leak, now) + over * scale)
      write_gauge(mark, between(0, debt - between(-own, part * scale, own), DEBT_MAX), now)
    end
  end
end
