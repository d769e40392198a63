#!lua flags=allow-oom
-- Apply: brings in what the ledger has and these keys do not, because it ran elsewhere or before they were made anew. Does no harm where they
-- do have it. Makes no event: the ledger has its entry.
-- KEYS  1 meta  2 holds  3 events  4 hold (or the marker of a Record's key)  5 idempotency key (or the marker again)   (the windows share the slot)
-- ARGV  1 kind: hold | record  2 doc  3 live (msgpack): as the ledger has it  4 charged  5 overrun (msgpack each): by the entry
--       6 content hash  7 how long to remember what has ended, ms
-- Reply OK, now | REPLAYED, now: it counts already
local now = read_meta()
local after, charged, overrun = hold_of(KEYS[4], ARGV[2], ARGV[3]), cmsgpack.unpack(ARGV[4]), cmsgpack.unpack(ARGV[5])

if ARGV[1] == 'record' then
  if redis.call('EXISTS', KEYS[4]) == 1 then return {CODE.REPLAYED, now} end
  redis.call('SET', KEYS[4], ARGV[6], 'PX', ARGV[7])
  move(after.windows, now, charged, NOTHING, 0, overrun)
  return {CODE.OK, now}
end

local function progress(hold)
  return hold.parts + hold.granted + hold.expire
end

-- Whether the hold that is here is at least as far in its life as the one that is to be.
local function has_passed(here, there)
  if here.settlement or there.settlement then return here.settlement and true or false end
  if there.state == 'HELD' then return here.state ~= 'HELD' or progress(here) >= progress(there) end
  return here.state ~= 'HELD' and here.late_parts >= there.late_parts
end

local here = read_hold(KEYS[4])
local passed = here and has_passed(here, after)
if passed then
  -- What is further here may have been charged less all the same: who charged it elsewhere did not know of what happened here.
  local total, pico = at_least(after.charged, here.charged), math.max(after.pico, here.pico)
  -- Settled late here, because its time was over before the Commit was brought: it had been settled in time.
  local in_time = after.state == 'COMMITTED' and here.state ~= 'COMMITTED'
  if not in_time then after = hold_of(here.key, here.doc, here.packed) end
  after.charged, after.pico = total, pico
  after.marks, after.requests = here.marks, here.requests
  if is_nothing(beyond(total, here.charged)) then
    if in_time then write_hold(after) end
    return {CODE.REPLAYED, now}
  end
end
remember(now)

local held, holds = remaining(after), after.state == 'HELD' and 1 or 0
if here then
  -- The totals tell what is missing, whatever entry it came by.
  after.doc, after.windows, after.marks, after.requests = here.doc, here.windows, here.marks, here.requests
  after.charged = at_least(after.charged, here.charged)
  charged, held = plus(after.charged, here.charged, -1), plus(remaining(after), remaining(here), -1)
  overrun = plus(beyond(after.charged, after.held), beyond(here.charged, here.held), -1)
  holds = holds - (here.state == 'HELD' and 1 or 0)
else
  redis.call('DEL', after.key) -- what is there is of another epoch
end
write_hold(after)
move(after.windows, now, charged, held, holds, overrun)
if after.state == 'HELD' then
  redis.call('ZADD', HOLDS, int(after.expire), id_of(after.key))
  if not here and KEYS[5] ~= KEYS[4] then redis.call('SET', KEYS[5], ARGV[6] .. ' ' .. id_of(after.key)) end
elseif not passed then
  redis.call('ZREM', HOLDS, id_of(after.key))
  redis.call('PEXPIRE', after.key, ARGV[7])
end
return {CODE.OK, now}
