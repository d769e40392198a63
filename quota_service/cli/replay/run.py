"""Sending a plan: Authorize, the wait for the model, then Commit, Release, or nothing at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from grpc.aio import UnaryUnaryMultiCallable

from quota.client import ApiError, Connection
from quota.v1 import quota_pb2, types_pb2
from quota_service.cli.replay.outcomes import Outcomes
from quota_service.cli.replay.plan import Call, Fate

ATTEMPTS = 60  # of one call: 15 s without a server
RETRY_PAUSE_S = 0.25
FIRST_TOKEN_MS = 300
TOKEN_MS = 20
RELEASE_REASON = "the model's provider failed"

Request = TypeVar("Request")
Response = TypeVar("Response")


class Runner:
    """Sends the calls of a plan and adds up what becomes of them.

    `speed` 0: as fast as possible, without waiting. `run_id` makes the idempotency keys of this run its own.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        organization: str,
        run_id: str,
        speed: float,
        done: Callable[[], None],
    ) -> None:
        self.connection = connection
        self.organization = organization
        self.run_id = run_id
        self.speed = speed
        self.done = done
        self.outcomes = Outcomes()
        self.gave_up: ApiError | None = None

    async def send_all(self, calls: Sequence[Call], *, concurrency: int) -> None:
        """Sends every call: at its time divided by the speed, or `concurrency` at a time."""
        if self.speed:
            await self._send_in_time(calls)
            return
        queue = iter(calls)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(calls))):
                group.create_task(self._work(queue))

    async def _work(self, queue: Iterator[Call]) -> None:
        for call in queue:
            await self._send(call)
            if self.gave_up:
                return

    async def _send_in_time(self, calls: Sequence[Call]) -> None:
        started_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for call in calls:
                due_s = started_s + call.arrival_us / 1_000_000 / self.speed
                await asyncio.sleep(max(0, due_s - time.monotonic()))
                if self.gave_up:
                    return
                group.create_task(self._send(call))

    async def _send(self, call: Call) -> None:
        try:
            await self._authorize_and_settle(call)
        except ApiError as error:
            if call.fate is Fate.ABANDONED and error.reason == "RESERVATION_ENDED":
                # Granted by a try whose answer was lost, and expired before the next one.
                self.outcomes.abandoned_unseen()
            else:
                self.outcomes.failed(error)
            if error.retryable:
                # Its attempts are used up: the server is gone. The other calls need not find out one by one.
                self.gave_up = error
        self.done()

    async def _authorize_and_settle(self, call: Call) -> None:
        request = self._request(call)
        answer = await self._repeated(self.connection.quota.Authorize, request, self.outcomes.authorize_ns)
        self.outcomes.authorized(call, answer)
        if answer.decision == types_pb2.DECISION_ALLOW:
            await self._settle(call, answer.reservation)
        elif _only_budgets(answer):
            await self._ask_again(call, request)

    def _request(self, call: Call) -> quota_pb2.AuthorizeRequest:
        request = quota_pb2.AuthorizeRequest(
            idempotency_key=f"replay-{self.run_id}-{call.number}",
            subject=types_pb2.Subject(
                organization=self.organization,
                user=call.spender.user,
                api_key=call.spender.api_key,
                project=call.project,
            ),
            provider=call.model.provider,
            model=call.model.model,
            estimate=quota_pb2.Estimate(
                input_tokens=call.input_tokens, max_output_tokens=call.max_output_tokens
            ),
        )
        request.ttl.seconds = call.ttl_s
        return request

    async def _settle(self, call: Call, reservation: quota_pb2.Reservation) -> None:
        if call.fate is Fate.ABANDONED:
            return
        await self._wait_for_model(call)
        if call.fate is Fate.FAILS:
            release = quota_pb2.ReleaseRequest(name=reservation.name, reason=RELEASE_REASON)
            await self._repeated(self.connection.quota.Release, release)
            return
        commit = quota_pb2.CommitRequest(
            name=reservation.name,
            usage=types_pb2.Usage(input_tokens=call.input_tokens, output_tokens=call.used_output_tokens),
            usage_estimated=call.fate is Fate.CANCELLED,
        )
        answer = await self._repeated(self.connection.quota.Commit, commit, self.outcomes.commit_ns)
        self.outcomes.committed(reservation, answer)

    async def _wait_for_model(self, call: Call) -> None:
        if self.speed:
            milliseconds = FIRST_TOKEN_MS + TOKEN_MS * call.used_output_tokens
            await asyncio.sleep(milliseconds / 1000 / self.speed)

    async def _ask_again(self, call: Call, request: quota_pb2.AuthorizeRequest) -> None:
        """Would the actual usage have fitted at this moment, where the larger hold did not?"""
        request.estimate.max_output_tokens = call.output_tokens
        request.idempotency_key += "-actual"
        request.validate_only = True
        answer = await self._repeated(self.connection.quota.Authorize, request)
        self.outcomes.asked_again += 1
        self.outcomes.not_needed += answer.decision == types_pb2.DECISION_ALLOW

    async def _repeated(
        self,
        method: UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        latencies_ns: list[int] | None = None,
    ) -> Response:
        """Makes a call, again while the server is unavailable; the time of the last try counts."""
        left = ATTEMPTS
        while True:
            started_ns = time.perf_counter_ns()
            try:
                answer = await self.connection.call(method, request)
            except ApiError as error:
                left -= 1
                if not error.retryable or not left:
                    raise
            else:
                if latencies_ns is not None:
                    latencies_ns.append(time.perf_counter_ns() - started_ns)
                return answer
            self.outcomes.retries += 1
            await asyncio.sleep(RETRY_PAUSE_S)


def _only_budgets(answer: quota_pb2.AuthorizeResponse) -> bool:
    budgets = (types_pb2.REASON_BUDGET_EXHAUSTED, types_pb2.REASON_BUDGET_HELD)
    return all(violation.reason in budgets for violation in answer.violations)
