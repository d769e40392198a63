#!lua flags=allow-oom
-- Restore: puts back an ended hold that only the ledger remembers, so that it can be settled late. Moves no amounts.
-- KEYS  1 meta  2 holds  3 events  4 hold
-- ARGV  1 doc  2 windows (msgpack)  3 live (msgpack)  4 how long to keep it, ms
-- Reply OK, now | REPLAYED, now: it is there
local now = read_meta()
if read_hold(KEYS[4]) then return {CODE.REPLAYED, now} end
redis.call('DEL', KEYS[4])
redis.call('HSET', KEYS[4], 'doc', ARGV[1], 'windows', ARGV[2], 'live', ARGV[3], 'epoch', int(EPOCH))
redis.call('PEXPIRE', KEYS[4], ARGV[4])
return {CODE.OK, now}
