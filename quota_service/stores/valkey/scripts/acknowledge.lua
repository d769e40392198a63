#!lua flags=allow-oom
-- Acknowledge: the ledger has these events; what they ended is remembered a while longer, then forgotten.
-- KEYS  1 meta  2 holds  3 events  4.. keys to forget
-- ARGV  1 how long to remember, ms  2.. event ids
-- Reply OK, now
local now = read_meta()
for i = 2, #ARGV do
  redis.call('XDEL', EVENTS, ARGV[i])
end
for i = 4, #KEYS do
  redis.call('PEXPIRE', KEYS[i], ARGV[1])
end
return {CODE.OK, now}
