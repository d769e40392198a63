-- How a hold is kept, for scripts that stand alone as well: see `_prelude.lua`.

-- A hold as it is kept, or nil where there is none of that epoch (nil: of any).
local function kept_hold(key, epoch)
  local raw = redis.call('GET', key)
  local kept = raw and cmsgpack.unpack(raw)
  if not kept or (epoch and kept[1] ~= epoch) then return nil end
  return kept
end

-- The part of the fixed part that scripts read.
local function fixed_of(doc)
  local _, fixed = cmsgpack.unpack_one(doc, 1)
  return fixed
end
