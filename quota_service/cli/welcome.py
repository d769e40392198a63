"""What `quota serve --dev` greets with: a warning, and three commands to paste."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

GET_GRPCURL = (
    "grpcurl was not found here: get it from https://github.com/fullstorydev/grpcurl/releases, "
    "or with `brew install grpcurl`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """Ids of `examples/acme.yaml` that the printed commands use."""

    organization: str = "acme"
    api_key: str = "key-ada-laptop"
    provider: str = "openai"
    model: str = "gpt-5-mini"
    budget: str = "engineering-monthly"


ACME = Demonstration()


class Reaching(NamedTuple):
    """Files that callers need to reach the server; "": it speaks plaintext and asks nobody."""

    ca: str = ""
    token_file: str = ""


OPEN = Reaching()


_WARNING = (
    "  WARNING: development mode. There is NO AUTHENTICATION: whoever reaches this port can",
    "  read and spend everything. It listens on this machine only. Do not put it on a network.",
)
_SECURED = (
    "  It speaks TLS, and asks for a service token with every call. Authority and token were made for",
    "  trying it out; docs/security.md says how to use your own.",
)


def _exports(reaching: Reaching) -> tuple[str, ...]:
    """What `quota` needs to be told in another shell."""
    if not reaching.ca:
        return ()
    told = f"QUOTA_CA={_shown(reaching.ca)} QUOTA_TOKEN_FILE={_shown(reaching.token_file)}"
    return ("", f"For the quota command: export {told}")


def _shown(file: str) -> str:
    relative = os.path.relpath(file)
    return shlex.quote(relative if len(relative) < len(file) else file)


def shown_path(program: Path) -> str:
    """A program as it is typed: relative to the current directory where that is shorter, and quoted."""
    relative = os.path.relpath(program)
    shorter = relative if len(relative) < len(str(program)) else str(program)
    # A bare name would be searched for in PATH instead.
    return shlex.quote(shorter if os.sep in shorter else f".{os.sep}{shorter}")


def printed_commands(
    *,
    address: str,
    grpcurl: Path | None,
    idempotency_key: str,
    demonstration: Demonstration = ACME,
    reaching: Reaching = OPEN,
) -> tuple[str, str, str]:
    """Authorize, Commit and GetBudgetStatus as three lines for one shell: bash, dash or zsh, in this order.

    Authorize prints its answer and keeps the reservation's name in RESERVATION, which Commit uses.
    """
    program = shown_path(grpcurl) if grpcurl else "grpcurl"
    way = "-plaintext"
    if reaching.ca:
        token = f"authorization: Bearer $(cat {_shown(reaching.token_file)})"
        way = f'-cacert {_shown(reaching.ca)} -H "{token}"'
    call = f"{program} {way} -emit-defaults -d"
    organization = f"organizations/{demonstration.organization}"
    authorize = {
        "idempotencyKey": idempotency_key,
        "subject": {"organization": demonstration.organization, "apiKey": demonstration.api_key},
        "provider": demonstration.provider,
        "model": demonstration.model,
        "estimate": {"inputTokens": 1200, "maxOutputTokens": 800},
    }
    status = {"name": f"{organization}/budgets/{demonstration.budget}"}
    usage = json.dumps({"inputTokens": 1200, "outputTokens": 350})
    # printf rather than echo, which in dash and zsh would interpret backslashes in the answer.
    return (
        f"ANSWER=$({call} '{json.dumps(authorize)}' {address} quota.v1.QuotaService/Authorize)"
        " && printf '%s\\n' \"$ANSWER\""
        " && RESERVATION=$(printf '%s\\n' \"$ANSWER\""
        " | grep -o 'organizations/[^\"]*/reservations/[^\"]*' | head -n 1)",
        f'{call} \'{{"name": "\'"$RESERVATION"\'", "usage": {usage}}}\''
        f" {address} quota.v1.QuotaService/Commit",
        f"{call} '{json.dumps(status)}' {address} quota.v1.BudgetService/GetBudgetStatus",
    )


def banner(
    *,
    address: str,
    grpcurl: Path | None,
    idempotency_key: str,
    demonstration: Demonstration = ACME,
    reaching: Reaching = OPEN,
) -> str:
    """The text that the development server prints once it answers."""
    authorize, commit, status = printed_commands(
        address=address,
        grpcurl=grpcurl,
        idempotency_key=idempotency_key,
        demonstration=demonstration,
        reaching=reaching,
    )
    lines = [
        "",
        f"Quota Service is ready on {address}",
        "",
        *(_SECURED if reaching.ca else _WARNING),
        *_exports(reaching),
        "",
        f"The demo organization is {demonstration.organization}. Try it, line by line, in one other shell:",
        "",
        "1. Authorize: hold what a call may cost",
        authorize,
        "",
        "2. Commit: charge what it did cost",
        commit,
        "",
        "3. See where the budget stands",
        status,
        "",
    ]
    if grpcurl is None:
        lines += [GET_GRPCURL, ""]
    return "\n".join([*lines, "Ctrl-C stops everything; what is spent is kept for the next start.", ""])
