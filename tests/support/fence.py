"""A fence for tests of the deciding store alone, which has no ledger to be made anew from."""

from __future__ import annotations

from quota_service.stores.valkey.runner import Runner

EPOCH = 1


def unfenced(runner: Runner) -> Runner:
    """The same runner; it takes every organization's keys as it finds them."""

    async def establish(organization: str) -> None:
        meta = runner.keys.common(organization)[0]
        fence = f"{EPOCH} {await runner.connection.run_id()}"
        await runner.connection.call("HSET", meta, "fence", fence)
        runner.adopt(organization, EPOCH)

    runner.establish = establish
    return runner
