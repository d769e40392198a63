#!lua flags=allow-oom
-- Clear: forgets a batch of live holds, and every window in which they count. Stands alone: only whoever makes the keys anew calls it.
-- KEYS  1 meta  2 live holds by expiry   (the holds are named by it, the windows by them; all share the slot)
-- ARGV  1 the lowered fence  2 at most how many
-- Reply how many | -1: the keys are not fenced off, or for somebody else
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return -1 end
local found = redis.call('ZRANGE', KEYS[2], 0, tonumber(ARGV[2]) - 1)
for _, key in ipairs(found) do
  local windows = redis.call('HGET', key, 'windows')
  for _, place in ipairs(windows and cmsgpack.unpack(windows) or {}) do
    redis.call('DEL', place[2])
    if place[3] ~= '' then redis.call('SREM', place[3], place[4]) end
  end
  redis.call('DEL', key)
  redis.call('ZREM', KEYS[2], key)
end
return #found
