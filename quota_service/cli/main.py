"""The command itself: its subcommands, loaded when they are needed, and how it ends."""

from __future__ import annotations

import importlib
import os
import sys
from typing import NamedTuple

import click

from quota_service.cli.failures import CommandError, ExitCode, did_you_mean
from quota_service.cli.options import globally

INTERRUPTED = 130
FAULT = 70
DEBUG_VARIABLE = "QUOTA_DEBUG"

HELP = """Budgets and quotas for AI spend: authorize before a model call, commit after it.

\b
Exit codes:
  0  done
  1  denied, or a check failed
  2  usage or input is wrong; for `diff`: there are differences
  3  not found
  4  conflict, or the state does not allow it
  5  the server is unavailable
  6  who calls is not known to the server, or may not do that
 70  a fault of the command itself

`quota doctor` has the codes of monitoring plugins instead: see its help.
"""


class Entry(NamedTuple):
    """Where a subcommand lives, and what the list of commands says of it."""

    module: str
    attribute: str
    summary: str


COMMANDS = {
    "serve": Entry("server", "serve", "Run the server."),
    "token": Entry("token", "token", "Make a service token for somebody who calls the server."),
    "migrate": Entry("server", "migrate", "Bring the database up to date."),
    "apply": Entry("configure", "apply", "Load an organization from a YAML file."),
    "diff": Entry("configure", "diff", "Compare a YAML file with the server."),
    "export": Entry("configure", "export", "Write an organization as YAML."),
    "budget": Entry("budget", "budget", "List budgets, see where they stand, and give them more or less."),
    "limits": Entry("limits", "limits", "List rate limits."),
    "policies": Entry("limits", "policies", "List which models teams may use."),
    "exposure": Entry("exposure", "exposure", "Show the worst-case bill."),
    "authorize": Entry("spend", "authorize", "Hold an estimate against every matching budget."),
    "commit": Entry("spend", "commit", "Charge what a call has used."),
    "release": Entry("spend", "release", "Return a whole hold."),
    "reservations": Entry("listing", "reservations", "List live holds."),
    "ledger": Entry("listing", "ledger", "List what has been held and charged."),
    "alerts": Entry("alerts", "alerts", "List budgets that have reached a step of their ladder."),
    "denials": Entry("alerts", "denials", "List how often requests were denied, and why."),
    "audit": Entry("audit", "audit", "List who has changed what, and verify that nobody has rewritten it."),
    "key": Entry("key", "key", "Make API keys, and change or end their secrets."),
    "freeze": Entry("freeze", "freeze", "Stop a team, user, project or key at once."),
    "unfreeze": Entry("freeze", "unfreeze", "Let a frozen one go on."),
    "health": Entry("health", "health", "Ask whether the server takes calls."),
    "doctor": Entry("doctor", "doctor", "Check the stores and what waits between them."),
    "reconcile": Entry("reconcile", "reconcile", "Compare Valkey with the ledger, and set it right."),
    "deadletter": Entry("deadletter", "deadletter", "See and replay what the ledger refused."),
    "replay": Entry("replay.command", "replay", "Send a real trace of requests through the server."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported only when they run, so that `quota --help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"quota_service.cli.{entry.module}")
        command = getattr(module, entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], COMMANDS) or "see `quota --help`"
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="quota-service", prog_name="quota")
@globally(with_environment=True)
def cli() -> None:
    pass


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code; whatever goes wrong is one sentence on stderr."""
    try:
        result = cli.main(args=arguments, prog_name="quota", standalone_mode=False)
    except CommandError as error:
        return _fail(error)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, `head` say, has seen enough. What is left in the buffer must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        if DEBUG_VARIABLE in os.environ:
            raise
        return _fail(fault(error))
    return result if isinstance(result, int) else ExitCode.OK


def fault(error: Exception) -> CommandError:
    """What is told of an error that nobody expected."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return CommandError(
        f"this is a fault of the command: {type(error).__name__}: {error}",
        code=FAULT,
        hint=f"{DEBUG_VARIABLE}=1 shows where it happened; please report it",
    )


def _fail(error: CommandError) -> int:
    # Styled only where stderr is a terminal; click strips it elsewhere.
    label = "error:" if "NO_COLOR" in os.environ else click.style("error:", fg="red", bold=True)
    click.echo(f"{label} {error}", err=True)
    for detail in error.details:
        click.echo(f"  {detail}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    return error.code
