"""Options that say who spends and on which model."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from quota_service.cli.failures import CommandError


def subject_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --team, --user, --api-key, --project and --tag; the command gets them as one dict, `subject`."""

    @click.option("--team", metavar="ID", default="", help="The team that spends.")
    @click.option("--user", metavar="ID", default="", help="The user that spends.")
    @click.option("--api-key", "--key", "api_key", metavar="ID", default="", help="The API key (its id).")
    @click.option("--project", metavar="ID", default="", help="What it is spent for.")
    @click.option("--tag", "tags", metavar="NAME=VALUE", multiple=True, help="A tag. May be repeated.")
    @wraps(function)
    def wrapper(
        *arguments: Any, team: str, user: str, api_key: str, project: str, tags: tuple[str, ...], **rest: Any
    ) -> Any:
        parts: dict[str, Any] = {"team": team, "user": user, "api_key": api_key, "project": project}
        parts["tags"] = dict(_pair(tag) for tag in tags)
        return function(*arguments, subject=parts, **rest)

    return wrapper


def _pair(tag: str) -> tuple[str, str]:
    name, separator, value = tag.partition("=")
    if not separator or not name:
        raise CommandError(f"--tag {tag!r} is not NAME=VALUE")
    return name, value


def split_model(provider: str, model: str) -> tuple[str, str]:
    """Provider and model; `--model openai/gpt-5-mini` brings both."""
    if provider or not model:
        return provider, model
    provider, separator, rest = model.partition("/")
    if not separator:
        raise CommandError(
            f"which provider is {model!r} of?", hint=f"--provider NAME, or --model PROVIDER/{model}"
        )
    return provider, rest
