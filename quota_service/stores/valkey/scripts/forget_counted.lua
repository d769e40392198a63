#!lua flags=allow-oom
-- Forget counted: the windows in which some holds count, of whatever epoch. Stands alone: only whoever makes an organization's keys anew
-- calls it.
-- KEYS  1 meta  2.. holds
-- ARGV  1 the fence as it must be  2 what the keys of all windows begin with  3 what the keys of their values begin with
-- Reply 1: done | 0: the fence is another
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
for i = 2, #KEYS do
  local kept = kept_hold(KEYS[i])
  for _, place in ipairs(kept and fixed_of(kept[5])[1] or {}) do
    redis.call('DEL', ARGV[2] .. place[2])
    if place[5] ~= 0 then
      local start, value = string.match(place[2], '^([^/]*/[^/]*)/(.*)$')
      redis.call('SREM', ARGV[3] .. start, value)
    end
  end
end
return 1
