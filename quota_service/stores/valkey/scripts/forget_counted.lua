#!lua flags=allow-oom
-- Forget counted: the windows in which some holds count, of whatever epoch. Stands alone: only whoever makes an organization's keys anew
-- calls it.
-- KEYS  1 meta  2.. holds
-- ARGV  1 the fence as it must be
-- Reply 1: done | 0: the fence is another
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
local known = {}
for i = 2, #KEYS do
  local fields = kept(KEYS[i])
  if fields and not known[fields[2]] then
    known[fields[2]] = true
    for _, place in ipairs(cmsgpack.unpack(fields[2])) do
      redis.call('DEL', place[2])
      if place[3] ~= '' then redis.call('SREM', place[3], place[4]) end
    end
  end
end
return 1
