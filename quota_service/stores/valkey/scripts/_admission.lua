-- Admission: the largest grant of output tokens that fits.

-- What a request needs, {least, most, input, fixed, per_token}: output tokens from `least` to `most`; `fixed` and `per_token` in pico-USD.
local function needed(demand, granted)
  return {micros(demand[4] + demand[5] * granted), demand[3] + granted, 1}
end

-- How many output tokens fit into room in a meter; negative where not even the rest of the request does.
local function tokens_in(room, demand, meter)
  if room < 0 then return -1 end
  if meter == 2 then return room - demand[3] end
  if meter == 3 then return room >= 1 and demand[2] or -1 end
  local pico = math.min(room * 1e6, PICO_MAX) - demand[4]
  if pico < 0 then return -1 end
  if demand[5] == 0 then return demand[2] end
  return (pico - math.fmod(pico, demand[5])) / demand[5]
end

-- How many fit into the window under a term that blocks, at most as many as the demand `wanted` has.
local function tokens_in_window(window, term, demand, wanted)
  local most, limits, spent, held = demand[2], term[1], window[1], window[2]
  for meter = 1, 3 do
    if limits[meter] >= 0 then
      local room = ceiling_of(window, term, meter) - spent[meter] - held[meter]
      if room < wanted[meter] then most = math.min(most, tokens_in(room, demand, meter)) end
    end
  end
  return most
end
