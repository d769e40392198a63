-- How a hold is kept: as a hash, or, from when it was made anew until a script reads it, as one string beside it, which is set in a third of
-- the time: {the epoch, a space, a digest of its windows (16 bytes), how long live is (2 bytes), live, doc}. The epoch's hash of places has the
-- windows by their digest. Either is a hold in its own epoch alone: what earlier ones left is not there, until it is forgotten.

local function string_of(key)
  return key .. '/anew'
end

-- The key of that name of the same organization.
local function beside(key, name)
  return string.gsub(key, 'hold/[^/]*$', '') .. name
end

-- Returns {doc, windows, live, marks, epoch}, or nil where there is no hold of that epoch (nil: of any), and whether it is a string.
local function kept(key, epoch)
  local fields = redis.call('HMGET', key, 'doc', 'windows', 'live', 'marks', 'epoch')
  if fields[1] and (not epoch or fields[5] == epoch) then return fields, false end
  local whole = redis.call('GET', string_of(key))
  if not whole then return nil, false end
  local made_in, digest = string.match(whole, '^(%d+) ()')
  if epoch and made_in ~= epoch then return nil, false end
  local windows = redis.call('HGET', beside(key, 'places/' .. made_in), string.sub(whole, digest, digest + 15))
  if not windows then return nil, false end
  local high, low = string.byte(whole, digest + 16, digest + 17)
  local live = digest + 18
  local doc = live + high * 256 + low
  return {string.sub(whole, doc), windows, string.sub(whole, live, doc - 1), false, made_in}, true
end
