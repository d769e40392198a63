#!lua flags=no-writes
-- Peek: the parts of some holds that say what they hold, and where. Stands alone: what it finds is looked at again before it counts.
-- KEYS  1 hold  2.. more of them
-- Reply {{windows, live}, ...}, {false, false} for those that are not there
local found = {}
for i, key in ipairs(KEYS) do
  found[i] = redis.call('HMGET', key, 'windows', 'live')
end
return found
