#!lua flags=no-writes
-- Look: where windows stand, and all that is on its way from here to the ledger, at one moment. Due holds stay as they are.
-- KEYS  1 meta  2 holds  3 events  4.. windows
-- ARGV  1 at most how many events  2 at most how many holds
-- Reply OK, now, epoch, last event id ('' none), {windows}, {{id, fields}, ...}, {{doc, live}, ...}
--       Beyond that many events or holds, their number stands where they would.
local now = read_meta()

local function last_event()
  if redis.call('EXISTS', EVENTS) == 0 then return '' end
  local about = redis.call('XINFO', 'STREAM', EVENTS)
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then return about[i + 1] end
  end
end

local windows = {}
for i = 4, #KEYS do
  windows[i - 3] = redis.call('GET', KEYS[i])
end

local events = redis.call('XLEN', EVENTS)
if events <= tonumber(ARGV[1]) then events = redis.call('XRANGE', EVENTS, '-', '+') end

local holds = redis.call('ZCARD', HOLDS)
if holds <= tonumber(ARGV[2]) then
  holds = {}
  for _, id in ipairs(redis.call('ZRANGE', HOLDS, 0, -1)) do
    local kept = kept_hold(HOLD .. id, EPOCH)
    if kept then holds[#holds + 1] = {kept[5], kept[2]} end
  end
end
return {CODE.OK, now, EPOCH, last_event(), windows, events, holds}
