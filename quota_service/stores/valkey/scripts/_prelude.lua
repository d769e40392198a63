-- Shared by every verb, as are the other files with an underscore; put in front of it when the scripts are loaded.
--
-- KEYS[1..3] are the same for all: the organization's meta hash, its live holds by expiry (members are their ids), and its stream of events
-- for the ledger. The meta hash has the version of the configuration, the time last seen, `waiting` (bytes of the events in the stream) and
-- `fence`: for which epoch of the ledger, and in which run of which server, these keys were last made what the ledger says. The last two
-- arguments are the same for all, too: the fence as the caller knows it, and how many bytes of events may wait. Values are MessagePack arrays, whose integers are exact up to 2^53:
--   window  {spent, held, holds, overrun, blocked_requests, blocked, added, moved, opened}, all but `holds` and `opened` one number a
--           meter: {cost, tokens, requests}; `added` and `moved` change its limit. What is behind `holds` is left out where all of it is nothing
--   term    {limits, percent, blocks, max values, ceilings}: limits are -1 where there is none; `percent` of them are the ceilings
--   live    {state, create, expire, ended, granted, held, charged, pico, parts, late_parts, settle_hash, settlement | false},
--           where settlement is {charged, returned, overrun}: the moving part of a hold
--   doc     {{places, rates, caller_priced, own cost in micros | nil, input tokens, idempotency key}, ...}: the fixed part of a hold. Scripts
--           read only its first element; the rest is the caller's
--   place   {end_ms (0: none), name of the window, opening, keep_ms, max values (-1: not known)}: where a hold counts
--   hold    {epoch in which it was written last, live, marks | false, requests | false, doc}: `marks` is what it took from rate limits (see
--           `_gauges.lua`), `requests` the content hash of each Extend by its request id. One of another epoch is not there
--   event   {type, at, charged, overrun, pico, late, final, epoch}; in the stream as field `e`, beside `doc`, `live` and `body`
-- Live holds go by their reservation's id in the sorted set. `left` has, like 2, the holds that were live when the keys were made anew, as far as
-- they have not been looked at since: most are live again.
--
-- Replies are {code, now, ...}; `now` is the store's clock in ms, never behind the last time seen for the organization.

local META, HOLDS, EVENTS = KEYS[1], KEYS[2], KEYS[3]
local BASE = string.sub(META, 1, -5) -- what all the organization's keys begin with

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
  SHORT = -11,         -- a window has less to give away
  OUT_OF_RANGE = -12,  -- a limit would be below 0, or higher than a limit may be
  FENCED = -13,        -- these keys are not what the caller takes them for: the store was lost, replaced or rolled back, or the caller is behind
  FULL = -14,          -- too many bytes of events wait for the ledger
  FAILED = -15,        -- a fault of the script's own, {what}: others that it ran for are not affected
}

local DUE_PER_SCRIPT = 50              -- bounds the work that a caller does for others
local OUTLIVE_MS = 48 * 3600 * 1000    -- windows stay this long after their end
local LIFETIME_MS = 24 * 3600 * 1000   -- no hold lives longer
local PICO_MAX = 9e15                  -- what one request may cost; below 2^53
local LIMIT_MAX = 9e14                 -- what a window's limit may be; ten times as much is below 2^53

local function int(number)
  return string.format('%.0f', number)
end

local BUFFER_MAX, FENCE = tonumber(table.remove(ARGV)), table.remove(ARGV)
local meta, time = redis.call('HMGET', META, 'version', 'time', 'fence', 'waiting'), redis.call('TIME')
local NOW = math.max(tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), tonumber(meta[2]) or 0)
if meta[3] ~= FENCE then return {CODE.FENCED, NOW} end
local EPOCH = tonumber(string.match(FENCE, '^%d+'))

-- The time, and the version of the configuration.
local function read_meta()
  return NOW, tonumber(meta[1]) or 0
end

-- Whether events that wait for the ledger take up that percentage of what they may.
local function is_buffer_full(percent)
  return (tonumber(meta[4]) or 0) * 100 >= BUFFER_MAX * percent
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

local NOTHING = {0, 0, 0} -- shared, and so never changed

local function plus(a, b, sign)
  return {a[1] + sign * b[1], a[2] + sign * b[2], a[3] + sign * b[3]}
end

local function at_least(a, b)
  return {math.max(a[1], b[1]), math.max(a[2], b[2]), math.max(a[3], b[3])}
end

local function beyond(a, b)
  return at_least(plus(a, b, -1), NOTHING)
end

local function is_nothing(a)
  return a[1] == 0 and a[2] == 0 and a[3] == 0
end
