"""Options that every command has. They may stand before or after the command's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

DEFAULT_ADDRESS = "127.0.0.1:50051"
DEFAULT_TIMEOUT_S = 10
EVERYWHERE = ("0.0.0.0", "[::]")

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(slots=True, kw_only=True)
class Globals:
    """Where to call, as whom, whose data, and how to print. `organization` empty: the only one there is.
    `token_file`, `ca`, `cert` and `key` are files; with a `ca` or a `cert` the connection is TLS. `reason`:
    why it is done, for the audit trail.
    """

    address: str = DEFAULT_ADDRESS
    token_file: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    tls: bool = False
    reason: str = ""
    organization: str = ""
    json: bool = False
    timeout_s: int = DEFAULT_TIMEOUT_S

    @property
    def target(self) -> str:
        """Where to call. What a server of this machine listens on everywhere by, and has in its environment,
        is called by a name that its certificate may have.
        """
        host, _, port = self.address.rpartition(":")
        return f"localhost:{port}" if host in EVERYWHERE else self.address


def current() -> Globals:
    """The options of the running command."""
    return click.get_current_context().find_root().ensure_object(Globals)


_REACHING = (
    ("ca", "FILE", "The server's certificate is signed by that of this PEM file. Implies TLS."),
    ("cert", "FILE", "The own certificate, for servers that want one. Implies TLS."),
    ("key", "FILE", "Its key."),
)


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    # An option left out at one place must not undo what was given at the other.
    if value not in (None, False):
        setattr(context.find_root().ensure_object(Globals), str(parameter.name), value)


def globally(
    *, calls_server: bool = True, with_environment: bool = False
) -> Callable[[Decorated], Decorated]:
    """Adds the options that every command has. Only the outermost group reads the environment."""

    def decorate(function: Decorated) -> Decorated:
        def option(*names: str, variable: str = "", **settings: Any) -> None:
            click.option(
                *names,
                callback=_keep,
                expose_value=False,
                envvar=variable if with_environment and variable else None,
                show_envvar=bool(variable) and with_environment,
                **settings,
            )(function)

        if calls_server and with_environment:
            for name, metavar, help_text in _REACHING:
                option(f"--{name}", metavar=metavar, variable=f"QUOTA_{name.upper()}", help=help_text)
            option(
                "--tls",
                is_flag=True,
                default=None,
                variable="QUOTA_TLS",
                help="The server's certificate is signed by an authority that the system trusts.",
            )
            option(
                "--token-file",
                metavar="FILE",
                variable="QUOTA_TOKEN_FILE",
                help="Has the service token to call with. Or put the token itself into QUOTA_TOKEN.",
            )
            option(
                "--reason",
                metavar="TEXT",
                variable="QUOTA_REASON",
                help="Why something is changed. The audit trail keeps it.",
            )
        if calls_server:
            option(
                "--timeout",
                "timeout_s",
                type=click.IntRange(min=1),
                metavar="SECONDS",
                help=f"Longest wait for one answer. Default: {DEFAULT_TIMEOUT_S}.",
            )
        option("--json", is_flag=True, default=None, help="Print one JSON document.")
        if calls_server:
            option(
                "--organization",
                metavar="ID",
                variable="QUOTA_ORGANIZATION",
                help="Whose data. Default: the only organization there is.",
            )
            option(
                "--address",
                metavar="HOST:PORT",
                variable="QUOTA_ADDRESS",
                help=f"The server. Default: {DEFAULT_ADDRESS}.",
            )
        return function

    return decorate
