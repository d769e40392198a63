-- Holds: how they are kept, how they end, and the events that tell the ledger.

-- A hold from its parts as they are kept.
local function hold_of(doc, windows, packed)
  local live = cmsgpack.unpack(packed)
  return {
    doc = doc, windows = windows, packed = packed, marks = {},
    state = live[1], create = live[2], expire = live[3], ended = live[4], granted = live[5], held = live[6], charged = live[7],
    pico = live[8], parts = live[9], late_parts = live[10], settle_hash = live[11], settlement = live[12],
  }
end

local function read_hold(key)
  local fields, is_string = kept(key, int(EPOCH))
  if not fields then return nil end
  if is_string then
    redis.call('DEL', key, string_of(key))
    redis.call('HSET', key, 'doc', fields[1], 'windows', fields[2], 'live', fields[3], 'epoch', fields[5])
  end
  local hold = hold_of(fields[1], cmsgpack.unpack(fields[2]), fields[3])
  hold.key = key
  if fields[4] then hold.marks = cmsgpack.unpack(fields[4]) end
  return hold
end

local function write_hold(hold)
  hold.packed = cmsgpack.pack({
    hold.state, hold.create, hold.expire, hold.ended, hold.granted, hold.held, hold.charged,
    hold.pico, hold.parts, hold.late_parts, hold.settle_hash, hold.settlement,
  })
  redis.call('HSET', hold.key, 'live', hold.packed, 'epoch', int(EPOCH))
end

local function write_marks(hold)
  if #hold.marks > 0 then redis.call('HSET', hold.key, 'marks', cmsgpack.pack(hold.marks)) end
end

local function remaining(hold)
  if hold.state ~= 'HELD' then return nothing() end
  return beyond(hold.held, hold.charged)
end

-- Appends an event to the stream, and counts its bytes. Returns its id and the event.
local function append(event, doc, live, body)
  redis.call('HINCRBY', META, 'waiting', #event + #doc + #live + #body)
  return {redis.call('XADD', EVENTS, '*', 'e', event, 'doc', doc, 'live', live, 'body', body), event}
end

local function emit(type, now, hold, charged, overrun, pico, late, final, body)
  return append(cmsgpack.pack({type, now, charged, overrun, pico, late, final, EPOCH}), hold.doc, hold.packed, body)
end

-- Ends a held reservation by release or expiry. Returns what returned, the windows after, and the event.
local function finish(hold, state, type, now, body)
  local rest = remaining(hold)
  hold.state, hold.ended = state, now
  write_hold(hold)
  redis.call('ZREM', HOLDS, hold.key)
  local after = move(hold.windows, now, nothing(), plus(nothing(), rest, -1), -1, nothing())
  settle_gauges(hold.marks, now, rest, nothing())
  return rest, after, emit(type, now, hold, nothing(), nothing(), 0, false, true, body)
end

local function due_remain(now)
  return #redis.call('ZRANGEBYSCORE', HOLDS, '-inf', int(now), 'LIMIT', 0, 1) > 0
end

-- Retires at most `limit` due holds; returns how many.
local function retire(now, limit)
  local due = redis.call('ZRANGEBYSCORE', HOLDS, '-inf', int(now), 'LIMIT', 0, limit)
  for _, key in ipairs(due) do
    local hold = read_hold(key)
    if hold and hold.state == 'HELD' then
      finish(hold, 'EXPIRED', 'EXPIRE', now, '')
    else
      redis.call('ZREM', HOLDS, key)
    end
  end
  if #due > 0 then remember(now) end
  return #due
end

-- Forgets at most `limit` of the holds that were live when the keys were made anew, unless they are again; returns how many it looked at.
local function forget_left(limit)
  local epoch, looked_at = int(EPOCH), redis.call('ZPOPMIN', string.gsub(HOLDS, 'holds$', 'left'), limit)
  for i = 1, #looked_at, 2 do
    local key = looked_at[i]
    local now, is_string = kept(key, epoch)
    if not now then
      local before = kept(key)
      local again = before and beside(key, 'key/' .. (cjson.decode(before[1]).idempotency_key or ''))
      if again and string.match(redis.call('GET', again) or '', '^%S+ (.+)$') == key then redis.call('DEL', again) end
      redis.call('DEL', key, string_of(key))
    elseif is_string then
      redis.call('DEL', key)
    end
  end
  return #looked_at / 2
end

-- Retires what is due, as far as one caller can be asked to. Returns whether nothing due remains: only then may a script decide on, or
-- report, what is held.
local function retire_all(now)
  return retire(now, DUE_PER_SCRIPT) < DUE_PER_SCRIPT or not due_remain(now)
end
