#!lua flags=allow-oom
-- Sweep: retires a bounded batch of due holds.
-- KEYS  1 meta  2 holds  3 events
-- ARGV  1 at most how many
-- Reply OK, now, retired
local now = read_meta()
return {CODE.OK, now, retire(now, tonumber(ARGV[1]))}
