#!lua flags=allow-oom
-- Forget windows: all that are among the next keys of the server. Stands alone: only whoever makes an organization's keys anew calls it.
-- KEYS  1 meta
-- ARGV  1 the fence as it must be  2 pattern of window keys  3 what all of them begin with  4 what the keys of their values begin with
--       5 cursor, '0' at first  6 how many keys to pass by
-- Reply the next cursor, '0' behind the last key | '': the fence is another
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return '' end
local found = redis.call('SCAN', ARGV[5], 'MATCH', ARGV[2], 'COUNT', ARGV[6])
for _, key in ipairs(found[2]) do
  local start, value = string.match(string.sub(key, #ARGV[3] + 1), '^([^/]*/[^/]*)/(.*)$')
  redis.call('DEL', key)
  redis.call('SREM', ARGV[4] .. start, value)
end
return found[1]
