#!/bin/sh
# Everything that is checked without running the service. Shows each step's result, and the output of those that fail.
set -u
cd "$(dirname "$0")/.."
bin=.venv/bin
failed=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT

step() {
    name=$1
    shift
    printf '%-28s' "$name"
    if "$@" >"$output" 2>&1; then
        echo ok
    else
        echo FAILED
        sed 's/^/    /' "$output"
        failed=$((failed + 1))
    fi
}

# Compared as images: the compiled protos of today with those accepted by `make proto-baseline`.
proto_breaking() {
    $bin/buf build protos --output - | $bin/buf breaking - --against protos/baseline.binpb \
        --exclude-imports --config '{"version": "v2", "breaking": {"use": ["FILE"]}}'
}

step "format" $bin/ruff format --check
step "lint" $bin/ruff check
step "types" $bin/mypy
step "import contracts" $bin/lint-imports --no-cache
step "proto lint" $bin/buf lint
step "proto format" $bin/buf format --diff --exit-code --path protos/quota
step "proto breaking changes" proto_breaking
step "generated code up to date" $bin/python -m scripts.generate --check
step "image" $bin/hadolint deploy/Dockerfile
step "compose file" $bin/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
step "compose file, security" $bin/compose-lint check --config deploy/.compose-lint.yml --strict-config \
    --fail-on low --skip-suppressed deploy/compose.yaml

[ "$failed" -eq 0 ] || {
    echo "$failed of the checks failed"
    exit 1
}
