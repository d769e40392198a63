"""Fuzzing of what is done with a request before a store is asked: no bytes lead to a fault or take long."""
