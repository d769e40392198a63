#!lua flags=allow-oom
-- Commit: for each of some reservations, one after the other, charges the total usage so far and, unless it stays open, ends the hold. After an
-- expiry or release it is the late settlement.
-- KEYS  1 meta  2 holds  3 events  4.. holds   (the windows are named by the holds and share the slot)
-- ARGV  for each hold: usage (msgpack), content hash, keep open: 1 | 0, rates (msgpack) of another model or '', own price allowed: 1 | 0 | '' as the
--       hold says, body for the ledger
-- Reply OK, now, then for each one of
--         OK, doc, live, charged, returned, overrun (msgpack each), late: 1 | 0, event id, event, its bytes, {windows after}
--         REPLAYED, doc, live, charged, returned, overrun, late, '', '', 0, {windows}
--         UNKNOWN | CONFLICT | TOO_LARGE | PRICE_REFUSED | FULL
--       SWEEP, now
local now = read_meta()
if not retire_all(now) then return {CODE.SWEEP, now} end
remember(now)

local streamed = 0

local function told(code, hold, charged, returned, overrun, late, event)
  return {
    code, hold.doc, hold.packed, cmsgpack.pack(charged), cmsgpack.pack(returned), cmsgpack.pack(overrun), late and 1 or 0,
    event[1], event[2], event[3], standing(hold.windows),
  }
end

local NO_EVENT = {'', '', 0}

-- What usage costs, in pico-USD, and nil or why it is not taken.
local function cost_of(hold, usage, rates, own_price_allowed)
  local allowed = hold.caller_priced
  if own_price_allowed ~= '' then allowed = own_price_allowed == '1' end
  if usage[5] >= 0 and not allowed then return 0, CODE.PRICE_REFUSED end
  -- Who named a price of their own for the hold and none for the usage is charged that price: a call is not free for leaving it out.
  if usage[5] < 0 and rates == '' then usage[5] = hold.own_cost end
  local pico = price(rates ~= '' and cmsgpack.unpack(rates) or hold.rates, usage)
  return pico, pico > PICO_MAX and CODE.TOO_LARGE or nil
end

-- Moves a hold forward by what was charged to it. Returns by how many live holds there are more.
local function moved_on(hold, keep_open, content_hash, settlement)
  if keep_open and hold.state ~= 'HELD' then
    hold.late_parts = hold.late_parts + 1
  elseif keep_open then
    hold.parts = hold.parts + 1
  else
    hold.settle_hash, hold.settlement = content_hash, settlement
    if hold.state == 'HELD' then
      hold.state, hold.ended = 'COMMITTED', now
      redis.call('ZREM', HOLDS, id_of(hold.key))
      return -1
    end
  end
  return 0
end

local function committed(key, usage, content_hash, keep_open, rates, own_price_allowed, body)
  local hold = read_hold(key)
  if not hold then return {CODE.UNKNOWN} end
  local late, first = hold.state ~= 'HELD', hold.settlement
  if first then
    if not keep_open and hold.settle_hash ~= content_hash then return {CODE.CONFLICT} end
    return told(CODE.REPLAYED, hold, first[1], first[2], first[3], hold.state ~= 'COMMITTED', NO_EVENT)
  end
  if is_buffer_full(100) then return {CODE.FULL} end
  local pico, refused = cost_of(hold, usage, rates, own_price_allowed)
  if refused then return {refused} end

  local total = at_least(hold.charged, {micros(pico), usage[1] + usage[4], 1})
  local charged = plus(total, hold.charged, -1)
  local overrun = plus(beyond(total, hold.held), beyond(hold.charged, hold.held), -1)
  local returned = NOTHING
  if not late and not keep_open then returned = beyond(hold.held, total) end
  if keep_open and is_nothing(charged) then return told(CODE.REPLAYED, hold, charged, returned, overrun, late, NO_EVENT) end

  local before, pico_more = remaining(hold), math.max(hold.pico, pico) - hold.pico
  hold.charged, hold.pico = total, hold.pico + pico_more
  local holds = moved_on(hold, keep_open, content_hash, {charged, returned, overrun})
  write_hold(hold)
  move_together(hold.windows, now, charged, plus(remaining(hold), before, -1), holds, overrun)
  -- A late Commit uses what returned when the hold ended.
  local again = late and plus(charged, overrun, -1) or NOTHING
  settle_gauges(hold.marks, now, plus(returned, again, -1), overrun)
  -- An ended hold may be about to be forgotten. It is needed until the ledger has its settlement, which is when it is forgotten anew.
  if late and keep_open then
    redis.call('PEXPIRE', hold.key, LIFETIME_MS)
  elseif late then
    redis.call('PERSIST', hold.key)
  end
  local event = stream(event_of('COMMIT', now, charged, overrun, pico_more, late, not keep_open), hold.doc, hold.packed, body)
  streamed = streamed + event[3]
  return told(CODE.OK, hold, charged, returned, overrun, late, event)
end

local reply = {CODE.OK, now}
for i = 4, #KEYS do
  local at = 6 * (i - 4)
  reply[i - 1] = alone(committed, KEYS[i], cmsgpack.unpack(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3] == '1', ARGV[at + 4], ARGV[at + 5], ARGV[at + 6])
end
write_together()
if streamed > 0 then redis.call('HINCRBY', META, 'waiting', streamed) end
return reply
