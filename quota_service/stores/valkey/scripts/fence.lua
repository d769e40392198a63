#!lua flags=allow-oom
-- Fence: replaces the fence by another, if it is still the expected one ('' none). Stands alone: whoever is fenced off may ask.
-- KEYS  1 meta
-- ARGV  1 expected  2 new  3 version of the configuration, where the fence is raised: then no events wait ('' as it is)
-- Reply 1: done | 0: it is another
local current = redis.call('HGET', KEYS[1], 'fence') or ''
if current ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'fence', ARGV[2])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'version', ARGV[3], 'waiting', 0) end
return 1
