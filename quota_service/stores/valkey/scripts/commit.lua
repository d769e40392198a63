#!lua flags=allow-oom
-- Commit: charges the total usage so far and, unless it stays open, ends the hold. After an expiry or release it is the late settlement.
-- KEYS  1 meta  2 holds  3 events  4 hold   (the windows are named by the hold and share the slot)
-- ARGV  1 usage (msgpack)  2 content hash  3 keep open: 1 | 0  4 rates (msgpack) of another model, or ''  5 own price allowed: 1 | 0 | '' as the hold says
--       6 body for the ledger
-- Reply OK, now, doc, live, charged, returned, overrun (msgpack each), late: 1 | 0, event id, event, its bytes, windows after...
--       REPLAYED, now, doc, live, charged, returned, overrun, late, '', '', 0, windows...
--       UNKNOWN, now | SWEEP, now | CONFLICT, now | TOO_LARGE, now | PRICE_REFUSED, now | FULL, now
local now = read_meta()
local usage, keep_open = cmsgpack.unpack(ARGV[1]), ARGV[3] == '1'

if not retire_all(now) then return {CODE.SWEEP, now} end
local hold = read_hold(KEYS[4])
if not hold then return {CODE.UNKNOWN, now} end
remember(now)

local function reply(code, charged, returned, overrun, late, event, windows)
  return {
    code, now, hold.doc, hold.packed, cmsgpack.pack(charged), cmsgpack.pack(returned), cmsgpack.pack(overrun), late and 1 or 0,
    event[1], event[2], event[3], unpack(windows),
  }
end

local late = hold.state ~= 'HELD'
if hold.settlement then
  if not keep_open and hold.settle_hash ~= ARGV[2] then return {CODE.CONFLICT, now} end
  local first = hold.settlement
  return reply(CODE.REPLAYED, first[1], first[2], first[3], hold.state ~= 'COMMITTED', {'', '', 0}, read_windows(hold.windows))
end

if is_buffer_full(100) then return {CODE.FULL, now} end
local own_price_allowed = hold.caller_priced
if ARGV[5] ~= '' then own_price_allowed = ARGV[5] == '1' end
if usage[5] >= 0 and not own_price_allowed then return {CODE.PRICE_REFUSED, now} end

-- Who named a price of their own for the hold and none for the usage is charged that price: a call is not free for leaving it out.
if usage[5] < 0 and ARGV[4] == '' then usage[5] = hold.own_cost end

local pico = price(ARGV[4] ~= '' and cmsgpack.unpack(ARGV[4]) or hold.rates, usage)
if pico > PICO_MAX then return {CODE.TOO_LARGE, now} end

local total = at_least(hold.charged, {micros(pico), usage[1] + usage[4], 1})
local charged = plus(total, hold.charged, -1)
local overrun = plus(beyond(total, hold.held), beyond(hold.charged, hold.held), -1)
local returned = NOTHING
if not late and not keep_open then returned = beyond(hold.held, total) end
if keep_open and is_nothing(charged) then
  return reply(CODE.REPLAYED, charged, returned, overrun, late, {'', '', 0}, read_windows(hold.windows))
end

local before = remaining(hold)
local pico_more = math.max(hold.pico, pico) - hold.pico
hold.charged, hold.pico = total, hold.pico + pico_more
local holds = 0
if keep_open and late then
  hold.late_parts = hold.late_parts + 1
elseif keep_open then
  hold.parts = hold.parts + 1
else
  hold.settle_hash, hold.settlement = ARGV[2], {charged, returned, overrun}
  if not late then
    hold.state, hold.ended, holds = 'COMMITTED', now, -1
    redis.call('ZREM', HOLDS, id_of(hold.key))
  end
end
write_hold(hold)
local after = move(hold.windows, now, charged, plus(remaining(hold), before, -1), holds, overrun)
-- A late Commit uses what returned when the hold ended.
local again = late and plus(charged, overrun, -1) or NOTHING
settle_gauges(hold.marks, now, plus(returned, again, -1), overrun)
-- An ended hold may be about to be forgotten. It is needed until the ledger has its settlement, which is when it is forgotten anew.
if late and keep_open then
  redis.call('PEXPIRE', hold.key, LIFETIME_MS)
elseif late then
  redis.call('PERSIST', hold.key)
end
local event = emit('COMMIT', now, hold, charged, overrun, pico_more, late, not keep_open, ARGV[6])
return reply(CODE.OK, charged, returned, overrun, late, event, after)
