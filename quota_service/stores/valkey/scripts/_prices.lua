-- Prices: what usage costs, in pico-USD, rounded up once to micro-USD.

-- Usage {input, cached, cache write, output, own cost in micros | -1} at rates {{above, input, cached, cache write, output}, ...}, in pico-USD.
local function price(rates, usage)
  if usage[5] >= 0 then return usage[5] * 1e6 end
  local rate = rates[1]
  for _, candidate in ipairs(rates) do
    if usage[1] > candidate[1] then rate = candidate end
  end
  local plain = usage[1] - usage[2] - usage[3]
  return plain * rate[2] + usage[2] * rate[3] + usage[3] * rate[4] + usage[4] * rate[5]
end

-- Rounded up. fmod is exact by definition.
local function micros(pico)
  local rest = math.fmod(pico, 1e6)
  return (pico - rest) / 1e6 + (rest > 0 and 1 or 0)
end
