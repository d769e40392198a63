#!lua flags=allow-oom
-- Apply: brings in what the ledger has and these keys do not, because it ran elsewhere or before they were made anew. Does no harm where they
-- do have it. Makes no event: the ledger has its entry.
-- KEYS  1 meta  2 holds  3 events  4 hold (or the marker of a Record's key)  5 idempotency key (or the marker again)   (the windows share the slot)
-- ARGV  1 kind: hold | record  2 doc  3 windows (msgpack)  4 live (msgpack): as the ledger has it  5 charged  6 overrun (msgpack each): by the entry
--       7 content hash  8 how long to remember what has ended, ms
-- Reply OK, now | REPLAYED, now: it counts already
local now = read_meta()
local places, charged, overrun = cmsgpack.unpack(ARGV[3]), cmsgpack.unpack(ARGV[5]), cmsgpack.unpack(ARGV[6])

if ARGV[1] == 'record' then
  if redis.call('EXISTS', KEYS[4]) == 1 then return {CODE.REPLAYED, now} end
  redis.call('SET', KEYS[4], ARGV[7], 'PX', ARGV[8])
  move(places, now, charged, nothing(), 0, overrun)
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

local after, here = hold_of(ARGV[2], places, ARGV[4]), read_hold(KEYS[4])
after.key = KEYS[4]
local passed = here and has_passed(here, after)
if passed then
  -- What is further here may have been charged less all the same: who charged it elsewhere did not know of what happened here.
  local total, pico = at_least(after.charged, here.charged), math.max(after.pico, here.pico)
  -- Settled late here, because its time was over before the Commit was brought: it had been settled in time.
  local in_time = after.state == 'COMMITTED' and here.state ~= 'COMMITTED'
  if not in_time then after = hold_of(here.doc, here.windows, here.packed) end
  after.key, after.charged, after.pico = KEYS[4], total, pico
  if is_nothing(beyond(total, here.charged)) then
    if in_time then write_hold(after) end
    return {CODE.REPLAYED, now}
  end
end
remember(now)

local held, holds = remaining(after), after.state == 'HELD' and 1 or 0
if here then
  -- The totals tell what is missing, whatever entry it came by.
  after.doc, after.windows, after.marks = here.doc, here.windows, here.marks
  after.charged = at_least(after.charged, here.charged)
  charged, held = plus(after.charged, here.charged, -1), plus(remaining(after), remaining(here), -1)
  overrun = plus(beyond(after.charged, after.held), beyond(here.charged, here.held), -1)
  holds = holds - (here.state == 'HELD' and 1 or 0)
else
  redis.call('DEL', after.key)
  redis.call('HSET', after.key, 'doc', after.doc, 'windows', ARGV[3])
end
write_hold(after)
move(after.windows, now, charged, held, holds, overrun)
if after.state == 'HELD' then
  redis.call('ZADD', HOLDS, int(after.expire), after.key)
  if not here and KEYS[5] ~= KEYS[4] then redis.call('SET', KEYS[5], ARGV[7] .. ' ' .. after.key) end
elseif not passed then
  redis.call('ZREM', HOLDS, after.key)
  redis.call('PEXPIRE', after.key, ARGV[8])
end
return {CODE.OK, now}
