-- How a hold is kept: as a hash, or, from when it was made anew until a script reads it, as one string, which is set in a third of the time:
-- a digest of its windows (16 bytes), how long live is (2 bytes), live, doc. The organization's `places` hash has the windows by their digest.

-- Returns {doc, windows, live, marks, epoch}, the last two false where there are none, all false where there is no hold, and whether it
-- is a string.
local function kept(key)
  local fields = redis.pcall('HMGET', key, 'doc', 'windows', 'live', 'marks', 'epoch')
  if not fields.err then return fields, false end
  local whole = redis.call('GET', key)
  local windows = redis.call('HGET', string.gsub(key, 'hold/[^/]*$', 'places'), string.sub(whole, 1, 16))
  if not windows then return {false, false, false, false, false}, true end
  local high, low = string.byte(whole, 17, 18)
  local doc = 19 + high * 256 + low
  return {string.sub(whole, doc), windows, string.sub(whole, 19, doc - 1), false, false}, true
end
