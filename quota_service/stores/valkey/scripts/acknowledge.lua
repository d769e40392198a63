#!lua flags=allow-oom
-- Acknowledge: the ledger has these events; what they ended is remembered a while longer, then forgotten.
-- KEYS  1 meta  2 holds  3 events  4.. keys to forget
-- ARGV  1 how long to remember, ms  2.. event ids, each with the event's bytes
-- Reply OK, now
local now = read_meta()
local done = 0
for i = 2, #ARGV, 2 do
  if redis.call('XDEL', EVENTS, ARGV[i]) == 1 then done = done + ARGV[i + 1] end
end
if done > 0 then redis.call('HINCRBY', META, 'waiting', int(-done)) end
for i = 4, #KEYS do
  -- A hold may live again: it was made anew from a ledger that had not seen its end. It ends anew when that is brought to it.
  local is_hold = string.sub(KEYS[i], 1, #HOLD) == HOLD
  if not (is_hold and redis.call('ZSCORE', HOLDS, id_of(KEYS[i]))) then redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
end
return {CODE.OK, now}
