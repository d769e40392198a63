#!lua flags=allow-oom
-- Acknowledge: the ledger has these events; what they ended is remembered a while longer, then forgotten.
-- KEYS  1 meta  2 holds  3 events  4.. keys to forget
-- ARGV  1 how long to remember, ms  2.. event ids
-- Reply OK, now
local now = read_meta()
local done = 0
for i = 2, #ARGV do
  local found = redis.call('XRANGE', EVENTS, ARGV[i], ARGV[i])[1]
  if found then
    for field = 2, #found[2], 2 do done = done + #found[2][field] end
    redis.call('XDEL', EVENTS, ARGV[i])
  end
end
if done > 0 then redis.call('HINCRBY', META, 'waiting', -done) end
for i = 4, #KEYS do
  -- A hold may live again: it was made anew from a ledger that had not seen its end. It ends anew when that is brought to it.
  if not redis.call('ZSCORE', HOLDS, KEYS[i]) then redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
end
return {CODE.OK, now}
