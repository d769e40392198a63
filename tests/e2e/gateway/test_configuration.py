"""deploy/envoy/envoy.yaml is what Envoy takes, as a user copies it and as the tests change it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from jwt.algorithms import RSAAlgorithm

from tests.support.gateway import (
    ENVOY,
    FILE,
    KEYS,
    PROVIDERS,
    Change,
    Configuration,
    failing_open,
    local_configuration,
    opted_out,
    with_tokens,
    without_filters,
    without_request_phase,
)

KEY = RSAAlgorithm.to_jwk(generate_private_key(65_537, 2_048).public_key(), as_dict=True)
CHANGES = {
    "none": [],
    "failing open": [failing_open],
    "without request phase": [without_request_phase],
    "without filters": [without_filters],
    "opted out": [opted_out("openai")],
    "with tokens": [with_tokens("https://people.example", json.dumps({"keys": [KEY]}))],
}


def remarks(file: Path) -> tuple[int, str]:
    """What Envoy says of a configuration: its exit code, and warnings."""
    checked = subprocess.run(
        [ENVOY, "--mode", "validate", "--config-path", file, "--log-level", "warning"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=KEYS,
    )
    return checked.returncode, checked.stderr


def metadata_keys(configuration: Configuration) -> dict[str, Any]:
    """Which metadata of ext_authz a filter runs for, by the filter's name."""
    found = {}
    for each in configuration.http["http_filters"]:
        for matcher in (
            each["typed_config"].get("xds_matcher", {}).get("matcher_list", {}).get("matchers", [])
        ):
            condition = matcher["predicate"]["not_matcher"]["single_predicate"]["input"]["typed_config"]
            found[each["name"]] = condition["filter"], condition["path"]
    return found


def test_envoy_takes_the_file_without_a_remark() -> None:
    assert remarks(FILE) == (0, "")


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_envoy_takes_what_the_tests_make_of_it(changes: list[Change], tmp_path: Path) -> None:
    configuration = local_configuration("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", 4)
    for change in changes:
        change(configuration)
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(configuration.values))
    assert remarks(file) == (0, "")


def test_every_metered_route_puts_in_one_key_of_the_company_s_and_takes_out_the_other_headers() -> None:
    configuration = Configuration.of_file()
    headers = {"authorization", "x-api-key", "x-goog-api-key"}
    for name in PROVIDERS:
        route = configuration.route(name)
        [added] = route["request_headers_to_add"]
        assert added["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"
        assert {added["header"]["key"], *route["request_headers_to_remove"]} == headers


def test_calls_fail_closed_and_answers_do_not() -> None:
    configuration = Configuration.of_file()
    closed = {
        name: configuration.filter(name)["failure_mode_allow"]
        for name in ("envoy.filters.http.ext_authz", "quota.request", "quota.response")
    }
    assert closed == {
        "envoy.filters.http.ext_authz": False,
        "quota.request": False,
        "quota.response": True,
    }


def test_the_later_filters_run_only_for_what_the_first_has_marked() -> None:
    assert metadata_keys(Configuration.of_file()) == {
        "quota.request": ("envoy.filters.http.ext_authz", [{"key": "rewrite"}]),
        "quota.response": ("envoy.filters.http.ext_authz", [{"key": "reservation"}]),
    }
