"""The rules, in plain Python: no I/O, no clock, no logging. What the Lua scripts must agree with."""
