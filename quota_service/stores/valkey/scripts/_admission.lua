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

-- How many fit into the window under a term that blocks.
local function tokens_in_window(window, term, demand)
  local most = demand[2]
  for meter = 1, 3 do
    if term[1][meter] >= 0 then
      local room = percent_of(limit_of(window, term, meter), term[2]) - window[1][meter] - window[2][meter]
      most = math.min(most, tokens_in(room, demand, meter))
    end
  end
  return most
end
