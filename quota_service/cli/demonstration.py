"""The organization that development mode begins with."""

from __future__ import annotations

from pathlib import Path

from quota_service.cli import options, welcome

FILE = Path(__file__).parents[2] / "examples" / "acme.yaml"


async def load(given: options.Globals) -> None:
    """Loads the demo organization unless it is there: what somebody changed in it stays."""
    from quota_service.cli.configure import apply_sources
    from quota_service.cli.files import documents
    from quota_service.cli.session import open_session

    if not FILE.is_file():
        return
    async with open_session(given) as session:
        if welcome.ACME.organization not in await session.organizations():
            await apply_sources(session, [documents.load(str(FILE))], prune=False)
