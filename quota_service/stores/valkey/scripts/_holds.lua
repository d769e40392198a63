-- Holds: how they are kept, how they end, and the events that tell the ledger.

local HOLD = BASE .. 'hold:' -- what the keys of all holds begin with

-- A hold from its parts as they are kept.
local function hold_of(key, doc, packed)
  local live, fixed = cmsgpack.unpack(packed), fixed_of(doc)
  return {
    key = key, doc = doc, packed = packed, marks = {}, requests = {},
    windows = located(fixed[1]), rates = fixed[2], caller_priced = fixed[3], own_cost = fixed[4] or -1, input = fixed[5],
    state = live[1], create = live[2], expire = live[3], ended = live[4], granted = live[5], held = live[6], charged = live[7],
    pico = live[8], parts = live[9], late_parts = live[10], settle_hash = live[11], settlement = live[12],
  }
end

local function read_hold(key)
  local kept = kept_hold(key, EPOCH)
  if not kept then return nil end
  local hold = hold_of(key, kept[5], kept[2])
  hold.marks, hold.requests = kept[3] or {}, kept[4] or {}
  return hold
end

local function write_hold(hold)
  hold.packed = cmsgpack.pack({
    hold.state, hold.create, hold.expire, hold.ended, hold.granted, hold.held, hold.charged,
    hold.pico, hold.parts, hold.late_parts, hold.settle_hash, hold.settlement,
  })
  local marks, requests = #hold.marks > 0 and hold.marks, next(hold.requests) and hold.requests or false
  redis.call('SET', hold.key, cmsgpack.pack({EPOCH, hold.packed, marks, requests, hold.doc}), 'KEEPTTL')
end

-- The id that a hold goes by among the live ones.
local function id_of(key)
  return string.sub(key, #HOLD + 1)
end

local function remaining(hold)
  if hold.state ~= 'HELD' then return NOTHING end
  return beyond(hold.held, hold.charged)
end

local function event_of(type, now, charged, overrun, pico, late, final)
  return cmsgpack.pack({type, now, charged, overrun, pico, late, final, EPOCH})
end

-- Appends an event to the stream, without counting its bytes. Returns its id, the event, and its bytes.
local function stream(event, doc, live, body)
  return {redis.call('XADD', EVENTS, '*', 'e', event, 'doc', doc, 'live', live, 'body', body), event, #event + #doc + #live + #body}
end

local function append(event, doc, live, body)
  local appended = stream(event, doc, live, body)
  redis.call('HINCRBY', META, 'waiting', appended[3])
  return appended
end

local function emit(type, now, hold, charged, overrun, pico, late, final, body)
  return append(event_of(type, now, charged, overrun, pico, late, final), hold.doc, hold.packed, body)
end

-- Ends a held reservation by release or expiry. Returns what returned, the windows after, and the event.
local function finish(hold, state, type, now, body)
  local rest = remaining(hold)
  hold.state, hold.ended = state, now
  write_hold(hold)
  redis.call('ZREM', HOLDS, id_of(hold.key))
  local after = move(hold.windows, now, NOTHING, plus(NOTHING, rest, -1), -1, NOTHING)
  settle_gauges(hold.marks, now, rest, NOTHING)
  return rest, after, emit(type, now, hold, NOTHING, NOTHING, 0, false, true, body)
end

local function due_remain(now)
  return #redis.call('ZRANGEBYSCORE', HOLDS, '-inf', int(now), 'LIMIT', 0, 1) > 0
end

-- Retires at most `limit` due holds; returns how many.
local function retire(now, limit)
  local due = redis.call('ZRANGEBYSCORE', HOLDS, '-inf', int(now), 'LIMIT', 0, limit)
  for _, id in ipairs(due) do
    local hold = read_hold(HOLD .. id)
    if hold and hold.state == 'HELD' then
      finish(hold, 'EXPIRED', 'EXPIRE', now, '')
    else
      redis.call('ZREM', HOLDS, id)
    end
  end
  if #due > 0 then remember(now) end
  return #due
end

-- Forgets at most `limit` of the holds that were live when the keys were made anew, unless they are again; returns how many it looked at.
local function forget_left(limit)
  local looked_at = redis.call('ZPOPMIN', BASE .. 'left', limit)
  for i = 1, #looked_at, 2 do
    local id = looked_at[i]
    local before = kept_hold(HOLD .. id)
    if before and before[1] ~= EPOCH then
      local again = BASE .. 'key/' .. fixed_of(before[5])[6]
      if string.match(redis.call('GET', again) or '', '^%S+ (.+)$') == id then redis.call('DEL', again) end
      redis.call('DEL', HOLD .. id)
    end
  end
  return #looked_at / 2
end

-- Retires what is due, as far as one caller can be asked to. Returns whether nothing due remains: only then may a script decide on, or
-- report, what is held.
local function retire_all(now)
  return retire(now, DUE_PER_SCRIPT) < DUE_PER_SCRIPT or not due_remain(now)
end
