#!lua flags=allow-oom
-- Drop: acknowledges events of keys that are about to be made anew. Stands alone: only whoever makes them anew calls it, and the fence may be
-- raised meanwhile.
-- KEYS  1 meta  2 live holds by expiry  3 events  4.. keys to forget
-- ARGV  1 how long to remember, ms  2 what the keys of all holds begin with  3.. event ids, each with the event's bytes
-- Reply how many events there were
local dropped, bytes, hold = 0, 0, ARGV[2]
for i = 3, #ARGV, 2 do
  if redis.call('XDEL', KEYS[3], ARGV[i]) == 1 then dropped, bytes = dropped + 1, bytes + ARGV[i + 1] end
end
if bytes > 0 then redis.call('HINCRBY', KEYS[1], 'waiting', string.format('%.0f', -bytes)) end
for i = 4, #KEYS do
  local is_hold = string.sub(KEYS[i], 1, #hold) == hold
  if not (is_hold and redis.call('ZSCORE', KEYS[2], string.sub(KEYS[i], #hold + 1))) then redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
end
return dropped
