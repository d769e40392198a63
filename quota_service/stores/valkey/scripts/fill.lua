#!lua
-- Fill: sets live holds and windows as the ledger has them. Moves no amounts. Stands alone: only whoever makes the keys anew calls it, and only
-- while they are fenced off.
-- KEYS  1 meta  2 live holds by expiry   (everything else is named by the arguments and shares the slot)
-- ARGV  1 the lowered fence  2 how many holds follow
--       3.. for each hold: hold key, doc, windows, live, expire_ms, idempotency key | '', what it keeps
--       after them for each window: window key, window | '' (none), forget_ms | '' (never), values key | '', each value
-- Reply 1: done | 0: the keys are not fenced off, or for somebody else
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end

local windows = 3 + 7 * tonumber(ARGV[2])
for i = 3, windows - 1, 7 do
  redis.call('DEL', ARGV[i])
  redis.call('HSET', ARGV[i], 'doc', ARGV[i + 1], 'windows', ARGV[i + 2], 'live', ARGV[i + 3])
  redis.call('ZADD', KEYS[2], ARGV[i + 4], ARGV[i])
  if ARGV[i + 5] ~= '' then redis.call('SET', ARGV[i + 5], ARGV[i + 6]) end
end

for i = windows, #ARGV, 5 do
  local key, window, forget, values = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if window == '' then
    redis.call('DEL', key)
  elseif forget == '' then
    redis.call('SET', key, window)
  else
    redis.call('SET', key, window, 'PXAT', forget)
  end
  if values ~= '' then
    redis.call('SADD', values, ARGV[i + 4])
    if forget ~= '' then redis.call('PEXPIREAT', values, forget) end
  end
end
return 1
