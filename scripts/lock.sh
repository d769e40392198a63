#!/bin/sh
# Resolve every dependency once, for all platforms, into requirements.lock (versions and hashes), and write down which
# of them the image is built from: deploy/requirements.lock.
# Needs `uv` on PATH; it is a tool for maintainers and not part of the project's own environment.
set -eu
cd "$(dirname "$0")/.."

command -v uv >/dev/null 2>&1 || {
    echo "make lock needs uv (https://docs.astral.sh/uv/)" >&2
    exit 1
}
# The list of hosts packages came from is the machine's affair: it must not end up in the lock.
lock() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
        --no-emit-package quota-client "$@" pyproject.toml
}

lock --extra embedded --group dev --output-file requirements.lock "$@"
lock --group build --constraint requirements.lock --output-file deploy/requirements.lock
