#!lua flags=allow-oom
-- Sweep: retires a bounded batch of due holds, and forgets some of those that keys made anew have left.
-- KEYS  1 meta  2 holds  3 events
-- ARGV  1 at most how many to retire  2 and to forget
-- Reply OK, now, retired, looked at whether to forget them
local now = read_meta()
return {CODE.OK, now, retire(now, tonumber(ARGV[1])), forget_left(tonumber(ARGV[2]))}
