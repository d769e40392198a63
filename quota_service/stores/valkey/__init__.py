"""Valkey: holds, windows and the stream of events, changed by one Lua script a verb."""
