#!lua flags=no-writes
-- Peek: parts of some holds. Asks nothing of the fence: what it finds is looked at again before it counts.
-- KEYS  1 hold  2.. more of them
-- ARGV  1.. which parts: 1 doc  2 windows  3 live
-- Reply {{part, ...}, ...}, each false where the hold is not there
local found = {}
for i, key in ipairs(KEYS) do
  local fields, parts = kept(key), {}
  for j, part in ipairs(ARGV) do
    parts[j] = fields[tonumber(part)]
  end
  found[i] = parts
end
return found
