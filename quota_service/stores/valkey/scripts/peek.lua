#!lua flags=no-writes
-- Peek: some holds: those of the fence's epoch, or, while it is lowered, of any. What it finds is looked at again before it counts.
-- KEYS  1 meta  2.. holds
-- Reply {{doc, live} | false, ...}
local found, epoch = {}, tonumber(string.match(redis.call('HGET', KEYS[1], 'fence') or '', '^%d+'))
for i = 2, #KEYS do
  local kept = kept_hold(KEYS[i], epoch)
  found[i - 1] = kept and {kept[5], kept[2]} or false
end
return found
