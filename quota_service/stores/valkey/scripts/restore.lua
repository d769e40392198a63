#!lua flags=allow-oom
-- Restore: puts back an ended hold that only the ledger remembers, so that it can be settled late. Moves no amounts.
-- KEYS  1 meta  2 holds  3 events  4 hold
-- ARGV  1 doc  2 live (msgpack)  3 how long to keep it, ms
-- Reply OK, now | REPLAYED, now: it is there
local now = read_meta()
if read_hold(KEYS[4]) then return {CODE.REPLAYED, now} end
write_hold(hold_of(KEYS[4], ARGV[1], ARGV[2]))
redis.call('PEXPIRE', KEYS[4], ARGV[3])
return {CODE.OK, now}
