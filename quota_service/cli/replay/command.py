"""`quota replay TRACE`."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from quota_service.cli import options, output
from quota_service.cli.failures import CommandError, ExitCode
from quota_service.cli.files.server import (
    find_model,
    list_keys,
    list_models,
    list_projects,
    list_teams,
    list_users,
)
from quota_service.cli.replay.checks import Checker
from quota_service.cli.replay.plan import Call, Directory, Model, Shares, Spender, make_plan
from quota_service.cli.replay.report import Report, as_json, print_report
from quota_service.cli.replay.run import Runner
from quota_service.cli.replay.trace import TraceRequest, read_trace
from quota_service.cli.session import Session, run
from quota_service.cli.subjects import split_model

DEFAULT_MODELS = (
    Model(provider="openai", model="gpt-5-mini"),
    Model(provider="openai", model="gpt-5"),
    Model(provider="anthropic", model="claude-sonnet-4-5"),
    Model(provider="anthropic", model="claude-haiku-4-5"),
)
DEFAULT_CONCURRENCY = 16
PERCENT = click.IntRange(0, 100)


@click.command()
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--requests", type=click.IntRange(min=1), metavar="N", help="Only the first N.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    metavar="X",
    help="X times as fast as the trace, with the model's time waited for. Default: as fast as possible.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=DEFAULT_CONCURRENCY,
    show_default=True,
    help="Calls under way at a time, without --speed.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Decides who sends what.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="PROVIDER/MODEL",
    help="May be repeated; the first is the most used.",
)
@click.option("--fail", type=PERCENT, default=3, show_default=True, help="Percent that fail.")
@click.option("--cancel", type=PERCENT, default=4, show_default=True, help="Percent cancelled.")
@click.option("--abandon", type=PERCENT, default=1, show_default=True, help="Percent never committed.")
@options.globally()
@click.pass_context
def replay(
    context: click.Context,
    *,
    trace: Path,
    requests: int | None,
    speed: float | None,
    concurrency: int,
    seed: int,
    models: tuple[str, ...],
    fail: int,
    cancel: int,
    abandon: int,
) -> None:
    """Send a real trace of LLM requests through Authorize, a wait, and Commit; then check the accounts.

    TRACE is a CSV with the columns TIMESTAMP, ContextTokens and GeneratedTokens; it may be gzip-compressed.

    Who sends what is decided by --seed: spenders are the API keys and the users with a team, none of them
    frozen, ordered by id and shuffled by the seed; the k-th is drawn with a weight of 1/k, and so is the
    k-th model. One request in four names a project. The estimate has the actual input; its
    max_output_tokens is the next power of two at or above the actual output, at least 256. Some calls fail
    (Release), some are cancelled (a part is committed as an estimate), some are never committed (their holds
    live for 1 or 2 s).

    Exits with 1 when a check fails: no hard budget exceeded beyond its itemised overruns, no hold leaked, and
    the spent counters equal the ledger's sums.
    """
    if fail + cancel + abandon > 100:
        raise CommandError("--fail, --cancel and --abandon are more than 100 percent together")
    rows = read_trace(trace, requests=requests)
    shares = Shares(fail_percent=fail, cancel_percent=cancel, abandon_percent=abandon)

    async def work(session: Session) -> Report:
        organization = await session.organization()
        chosen = await _models(session, organization, models)
        directory = await _directory(session, organization)
        plan = make_plan(rows, directory, chosen, seed=seed, shares=shares, ttl_s=_ttl_s(rows, speed))
        return await _run(session, organization, plan, trace.name, seed, speed or 0, concurrency)

    report = run(work)
    if options.current().json:
        output.print_json(as_json(report))
    else:
        print_report(report)
    context.exit(ExitCode.OK if report.passed else ExitCode.DENIED)


def _ttl_s(rows: Sequence[TraceRequest], speed: float | None) -> int:
    """Long enough for the longest simulated answer."""
    slowest_s = max(row.output_tokens for row in rows) // 50 + 1
    return min(86_400, 120 + int(slowest_s / speed)) if speed else 120


async def _run(
    session: Session,
    organization: str,
    plan: Sequence[Call],
    trace: str,
    seed: int,
    speed: float,
    concurrency: int,
) -> Report:
    run_id = str(uuid.uuid4())
    progress = _progress()
    with progress or nullcontext():
        task = progress.add_task("replaying", total=len(plan)) if progress else None

        def done() -> None:
            if progress and task is not None:
                progress.advance(task)

        runner = Runner(session.connection, organization=organization, run_id=run_id, speed=speed, done=done)
        started_ns = time.monotonic_ns()
        await runner.send_all(plan, concurrency=concurrency)
        elapsed_ms = (time.monotonic_ns() - started_ns) // 1_000_000
    if runner.gave_up:
        raise runner.gave_up
    parent = f"organizations/{organization}"
    checks = await Checker(session.connection, parent, runner.outcomes).run()
    teams = [team async for team in list_teams(session.connection, parent)]
    return Report(
        run_id=run_id,
        trace=trace,
        seed=seed,
        requests=len(plan),
        elapsed_ms=elapsed_ms,
        outcomes=runner.outcomes,
        checks=checks,
        cost_centers={output.short_id(team.name): team.cost_center for team in teams},
    )


def _progress() -> Progress | None:
    """A bar on stderr, where somebody watches."""
    if not sys.stderr.isatty():
        return None
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


async def _models(session: Session, organization: str, given: Sequence[str]) -> list[Model]:
    """The given models, all of which must exist; else the usual ones and the organization's own."""
    if given:
        chosen = [Model(provider=provider, model=model) for provider, model in map(_split, given)]
        for model in chosen:
            if not await find_model(session.connection, organization, model.provider, model.model):
                raise CommandError(
                    f"the catalogue has no model {model.provider}/{model.model}", code=ExitCode.NOT_FOUND
                )
        return chosen
    chosen = [
        model
        for model in DEFAULT_MODELS
        if await find_model(session.connection, organization, model.provider, model.model)
    ]
    async for entry in list_models(session.connection, organization):
        own = Model(provider=entry.provider, model=entry.model)
        if not entry.imported and not entry.caller_priced and own not in chosen:
            chosen.append(own)
    if not chosen:
        raise CommandError("the catalogue has none of the usual models", hint="name some with --model")
    return chosen


def _split(written: str) -> tuple[str, str]:
    return split_model("", written)


async def _directory(session: Session, organization: str) -> Directory:
    parent = f"organizations/{organization}"
    connection = session.connection
    keys = [
        Spender(api_key=output.short_id(key.name))
        async for key in list_keys(connection, parent)
        if not key.disabled
    ]
    users = [
        Spender(user=output.short_id(user.name))
        async for user in list_users(connection, parent)
        if user.teams and not user.disabled
    ]
    projects = [
        output.short_id(project.name)
        async for project in list_projects(connection, parent)
        if not project.disabled
    ]
    if not keys and not users:
        raise CommandError(
            f"{organization} has no API key, and no user with a team, that could spend",
            hint="load some: quota apply -f examples/acme.yaml",
        )
    return Directory(spenders=(*keys, *users), projects=tuple(projects))
