"""`quota serve` and `quota migrate`."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quota_service.cli import options, token, welcome
from quota_service.cli.demonstration import load
from quota_service.cli.failures import CommandError
from quota_service.cli.start_failures import failures

if TYPE_CHECKING:
    from quota_service.config import Settings
    from quota_service.workers.serving import Demonstrate


def _setting(name: str, help: str, **settings: Any) -> Callable[[Any], Any]:
    variable = f"QUOTA_{name.upper()}"
    option = f"--{name.replace('_', '-')}"
    return click.option(option, name, help=f"{help}  [env var: {variable}]", **settings)


def _store_options(function: Any) -> Any:
    function = _setting("postgres_url", "PostgreSQL, as postgresql://…", metavar="URL")(function)
    function = _setting("valkey_url", "Valkey or Redis, as redis://…", metavar="URL")(function)
    return _setting("data_dir", "Where embedded stores keep their data. Default: .quota.", metavar="DIR")(
        function
    )


@click.command()
@click.option(
    "--dev",
    is_flag=True,
    default=None,
    help="Development mode: stores of its own, demo data, no authentication; loopback only.",
)
@click.option(
    "--secure",
    is_flag=True,
    help="With --dev: TLS with an authority of its own, and a service token without which nobody gets in.",
)
@_setting("address", f"Where to listen. Default: {options.DEFAULT_ADDRESS}.", metavar="HOST:PORT")
@_store_options
@_setting("callers", "Who may call: a YAML file. Default: nobody is asked.", metavar="FILE")
@_setting("envoy", "Who spends behind Envoy: a YAML file. Default: API keys say it.", metavar="FILE")
@_setting("tls_cert", "The server's certificate, with those it is signed by, in PEM.", metavar="FILE")
@_setting("tls_key", "Its key, in PEM.", metavar="FILE")
@_setting("tls_client_ca", "Callers must show a certificate that this one has signed.", metavar="FILE")
@_setting(
    "workers",
    "Processes that answer. Default: as many as there are cores; in development mode 1.",
    type=click.IntRange(min=1),
    metavar="N",
)
@_setting("metrics_address", "Where Prometheus asks for /metrics. Default: nowhere.", metavar="HOST:PORT")
@_setting("key_prefix", "Put before every key in Valkey. Default: quota/.", metavar="TEXT")
@_setting("log_level", "debug, info, warning or error. Default: info.", metavar="LEVEL")
@_setting("drain_ms", "Serve on that long after a signal.", type=click.IntRange(min=0), metavar="MS")
@_setting("grace_ms", "Then let calls finish that long.", type=click.IntRange(min=0), metavar="MS")
def serve(dev: bool | None, secure: bool, address: str | None, data_dir: str | None, **given: Any) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    With --dev it starts a Valkey and a PostgreSQL of its own (unless URLs are given), migrates, and loads the
    demo organization `acme` where there is none yet.
    """
    elsewhere = options.current().address
    given["address"] = address or (elsewhere if elsewhere != options.DEFAULT_ADDRESS else None)
    settings = _settings(dev=dev, data_dir=data_dir, **given)
    if secure:
        settings = _secured(settings)
    with failures():
        if settings.worker_count == 1:
            from quota_service import compose

            compose.serve(settings, _greet_developer if settings.dev else _greet)
        else:
            from quota_service.workers import serving

            serving.serve(settings, _greet_developer_with_workers if settings.dev else _greet_with_workers)


def _operator() -> tuple[str, str]:
    """A token of somebody who may do everything, and their line of the file of callers."""
    made, hashed = token.new_token()
    return made, token.entry("operator", "admin", "*", hashed)


def _secured(settings: Settings) -> Settings:
    """With TLS and callers of its own; commands of this process call with its token."""
    from quota_service.embedded.secured import secured_files

    if not settings.dev:
        raise CommandError("--secure is for trying it out, with --dev", hint="see docs/security.md")
    files = secured_files(settings.data_dir.absolute() / "secured", _operator)
    reaching = options.current()
    reaching.ca, reaching.token_file = str(files.ca), str(files.token)
    return replace(
        settings,
        callers=str(files.callers),
        tls_cert=str(files.certificate),
        tls_key=str(files.key),
    )


@click.command()
@_setting("postgres_url", "PostgreSQL, as postgresql://…", metavar="URL")
def migrate(postgres_url: str | None) -> None:
    """Bring the database up to date. Running it twice does no harm.

    In development mode `quota serve` does it by itself.
    """
    url = postgres_url or os.environ.get("QUOTA_POSTGRES_URL")
    if not url:
        raise CommandError("Say which database: set QUOTA_POSTGRES_URL or give --postgres-url.")
    with failures():
        from quota_service import compose

        compose.migrate(url)
    click.echo("the database is up to date")


def _settings(*, data_dir: str | None, **given: Any) -> Settings:
    from quota_service.config import Settings, SettingsError

    try:
        return Settings.read(os.environ, data_dir=Path(data_dir) if data_dir else None, **given)
    except SettingsError as error:
        raise CommandError(str(error)) from None


async def _greet(address: str) -> None:
    click.echo(f"Quota Service is ready on {address}")


async def _greet_developer(address: str) -> None:
    await load(replace(options.current(), address=address))
    click.echo(_banner(address))


async def _greet_with_workers(address: str, demonstrate: Demonstrate) -> None:
    await _greet(address)


async def _greet_developer_with_workers(address: str, demonstrate: Demonstrate) -> None:
    await demonstrate(asdict(replace(options.current(), address=address)))
    click.echo(_banner(address))


def _banner(address: str) -> str:
    given, key = options.current(), f"demo-{uuid.uuid4()}"
    reaching = welcome.Reaching(ca=given.ca, token_file=given.token_file)
    return welcome.banner(address=address, grpcurl=find_grpcurl(), idempotency_key=key, reaching=reaching)


def find_grpcurl() -> Path | None:
    """grpcurl beside this Python, else on the PATH."""
    beside = Path(sys.executable).parent / "grpcurl"
    if beside.is_file():
        return beside
    found = shutil.which("grpcurl")
    return Path(found) if found else None
