#!lua flags=no-writes
-- Left behind: the oldest events that are at least so old, with the fence under which they came about.
-- KEYS  1 meta  2 holds  3 events
-- ARGV  1 age, ms  2 at most how many
-- Reply OK, now, {{id, fields}, ...}
local now = read_meta()
local newest = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - tonumber(ARGV[1])
return {CODE.OK, now, redis.call('XRANGE', EVENTS, '-', int(newest), 'COUNT', ARGV[2])}
