-- Windows that several requests of one script share: read once, changed by one after the other, written at the end. Each is {window, packed | false,
-- place, as it was kept | false, whether it has changed}.

local windows = {}

local function lasts_longer(one, other)
  return other[1] ~= 0 and (one[1] == 0 or one[1] + one[4] > other[1] + other[4])
end

local function window_at(place)
  local entry = windows[place[2]]
  if not entry then
    local window, raw = read_window(place[2])
    entry = {window, raw, place, raw, false}
    windows[place[2]] = entry
  elseif lasts_longer(place, entry[3]) then
    entry[3] = place
  end
  return entry
end

-- What is kept of a window that has been changed.
local function changed(entry, place)
  entry[2], entry[5] = pack_window(entry[1]), true
  count_value(place, entry[1])
end

-- Where the windows of some places stand, packed.
local function standing(places)
  local packed = {}
  for i, place in ipairs(places) do
    packed[i] = window_at(place)[2]
  end
  return packed
end

-- As `move`, but for what is written at the end.
local function move_together(places, now, spent, held, holds, overrun)
  for _, place in ipairs(places) do
    if is_kept(place, now) then
      local entry = window_at(place)
      add_to(entry[1], spent, held, holds, overrun)
      changed(entry, place)
    end
  end
end

-- What is made of one request: its reply, or FAILED, what. A fault there must not keep what the others have changed from being written.
local function alone(make, ...)
  local is_done, told = pcall(make, ...)
  return is_done and told or {CODE.FAILED, tostring(type(told) == 'table' and told.err or told)}
end

local function write_together()
  for _, entry in pairs(windows) do
    if entry[5] then keep_window(entry[3], entry[1], entry[2], entry[4]) end
  end
end
