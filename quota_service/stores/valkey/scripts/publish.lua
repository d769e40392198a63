#!lua flags=allow-oom
-- Publish: from now on nobody decides on a configuration older than the version.
-- KEYS  1 meta  2 holds  3 events
-- ARGV  1 version
-- Reply OK, now
local now, current = read_meta()
if tonumber(ARGV[1]) > current then remember(now, ARGV[1]) end
return {CODE.OK, now}
