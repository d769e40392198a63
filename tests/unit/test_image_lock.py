"""What the image is built from: a part of what the tests run with."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.process import ROOT

OURS = {"quota-client"}


def locked(file: str) -> dict[str, str]:
    """Versions by name. Every one has hashes, without which pip would not take it."""
    entries = re.findall(
        r"^(\S+)==(\S+)(?: ;.*)? \\\n    --hash=sha256:", (ROOT / file).read_text(), re.MULTILINE
    )
    return dict(entries)


def required(*path: str) -> list[Requirement]:
    found: Any = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for part in path:
        found = found[part]
    return [Requirement(each) for each in found if isinstance(each, str)]


def names(*path: str) -> set[str]:
    return {canonicalize_name(each.name) for each in required(*path)}


def test_the_image_has_the_versions_that_were_tested() -> None:
    image, tested = locked("deploy/requirements.lock"), locked("requirements.lock")
    assert {name: tested.get(name) for name in image} == image


def test_the_image_has_what_the_service_needs_and_what_builds_it() -> None:
    image = locked("deploy/requirements.lock")
    for each in [*required("project", "dependencies"), *required("dependency-groups", "build")]:
        name = canonicalize_name(each.name)
        assert name in OURS or each.specifier.contains(image[name]), each


def test_the_image_has_neither_stores_nor_tools_of_development() -> None:
    image = locked("deploy/requirements.lock").keys()
    assert not image & names("project", "optional-dependencies", "embedded")
    assert not image & (names("dependency-groups", "dev") - names("dependency-groups", "build"))


def test_every_entry_of_a_lock_is_read() -> None:
    for file in ("deploy/requirements.lock", "requirements.lock"):
        assert len(locked(file)) == (ROOT / file).read_text().count("==") - _marker_versions(file)


def _marker_versions(file: str) -> int:
    """How often markers say `==`."""
    return sum(line.partition(" ;")[2].count("==") for line in (ROOT / file).read_text().splitlines())
