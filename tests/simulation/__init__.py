"""Several replicas over simulated stores and a fake clock, with every fault that a seed comes up with.

`loop` and `network` are the world: time that only passes when everybody waits, and calls that may be lost on
either way or arrive when nobody waits for them any more. `keys`, `making` and `valkey` are the deciding store
over the reference (`domain.book`, `opening`, `limit_changes`, `applying`); `database` and `postgres` are the
ledger, whose transaction is the product's own `write_batch` over tables in memory. What the scripts and the
SQL do besides is written there once more: a change of theirs is to be made there, too. `replica` wires the
real application, `clients` use it, `faults` break it, `auditor` holds it to its guarantees.
`python -m tests.simulation` replays a seed.

A seed takes about 25 ms of a processor; each mutant is missed within 0.05–0.5 s of it on average (run.CALLS).
"""
