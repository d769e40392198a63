#!lua flags=allow-oom
-- Drop: acknowledges events of keys that are about to be made anew. Stands alone: only whoever makes them anew calls it, and the fence may be
-- raised meanwhile.
-- KEYS  1 meta  2 live holds by expiry  3 events  4.. keys to forget
-- ARGV  1 how long to remember, ms  2.. event ids
-- Reply how many events there were
local dropped, bytes = 0, 0
for i = 2, #ARGV do
  local found = redis.call('XRANGE', KEYS[3], ARGV[i], ARGV[i])[1]
  if found then
    for field = 2, #found[2], 2 do bytes = bytes + #found[2][field] end
    redis.call('XDEL', KEYS[3], ARGV[i])
    dropped = dropped + 1
  end
end
if bytes > 0 then redis.call('HINCRBY', KEYS[1], 'waiting', -bytes) end
for i = 4, #KEYS do
  if not redis.call('ZSCORE', KEYS[2], KEYS[i]) then redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
end
return dropped
