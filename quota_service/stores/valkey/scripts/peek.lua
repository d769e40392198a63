#!lua flags=no-writes
-- Peek: parts of some holds: those of the fence's epoch, or, while it is lowered, of any. What it finds is looked at again before it counts.
-- KEYS  1 meta  2.. holds
-- ARGV  1.. which parts: 1 doc  2 windows  3 live
-- Reply {{part, ...}, ...}, each false where the hold is not there
local found, epoch = {}, string.match(redis.call('HGET', KEYS[1], 'fence') or '', '^%d+')
for i = 2, #KEYS do
  local fields, parts = kept(KEYS[i], epoch) or {}, {}
  for j, part in ipairs(ARGV) do
    parts[j] = fields[tonumber(part)] or false
  end
  found[i - 1] = parts
end
return found
