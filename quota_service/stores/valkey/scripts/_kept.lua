-- How a hold is kept: as a hash, or, from when it was made anew until a script reads it, as one string, which is set in half the time:
-- windows, live, doc, one behind the other.

-- Returns {doc, windows, live, marks, epoch}, the last two false where there are none, all false where there is no hold, and whether it
-- is a string.
local function kept(key)
  local fields = redis.pcall('HMGET', key, 'doc', 'windows', 'live', 'marks', 'epoch')
  if not fields.err then return fields, false end
  local whole = redis.call('GET', key)
  local live = cmsgpack.unpack_one(whole)
  local doc = cmsgpack.unpack_one(whole, live)
  return {string.sub(whole, doc + 1), string.sub(whole, 1, live), string.sub(whole, live + 1, doc), false, false}, true
end
