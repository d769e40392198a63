#!lua flags=allow-oom
-- Clear: forgets a batch of live holds, and every window in which they count. Stands alone: only whoever makes the keys anew calls it.
-- KEYS  1 meta  2 live holds by expiry   (the holds are named by it, the windows by them; all share the slot)
-- ARGV  1 the lowered fence  2 at most how many
-- Reply how many | -1: the keys are not fenced off, or for somebody else
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return -1 end

local gone, seen = {}, {}
local function forget(key)
  gone[#gone + 1] = key
  if #gone == 1000 then  -- Lua hands over no more than some thousands at once
    redis.call('DEL', unpack(gone))
    gone = {}
  end
end

local found = redis.call('ZRANGE', KEYS[2], 0, tonumber(ARGV[2]) - 1)
for _, key in ipairs(found) do
  local windows = redis.call('HGET', key, 'windows')
  if windows and not seen[windows] then  -- most holds share theirs
    seen[windows] = true
    for _, place in ipairs(cmsgpack.unpack(windows)) do
      if not seen[place[2]] then
        seen[place[2]] = true
        forget(place[2])
        if place[3] ~= '' then redis.call('SREM', place[3], place[4]) end
      end
    end
  end
  forget(key)
end
if #gone > 0 then redis.call('DEL', unpack(gone)) end
if #found > 0 then redis.call('ZREMRANGEBYRANK', KEYS[2], 0, #found - 1) end
return #found
