#!/bin/sh
# Create .venv with exactly what requirements.lock names, and the two local distributions.
# Called by the Makefile when the lock is newer than the stamp; running it twice does no harm.
set -eu
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/.installed
# pip wants a home for its cache, even where the user has none.
export HOME="${HOME:-$PWD/$venv}"

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

can_make_venv() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

# Prints the first interpreter that is new enough and able to create an environment.
find_python() {
    bare=
    candidates=${PYTHON:-python3.13 python3.12 python3.11 python3}
    for candidate in $candidates; do
        is_new_enough "$candidate" || continue
        if can_make_venv "$candidate"; then
            echo "$candidate"
            return
        fi
        bare=$candidate
    done
    [ -z "$bare" ] || fail "$bare cannot create virtual environments: its venv or ensurepip module is missing." \
        "On Debian or Ubuntu: apt-get install python3-venv"
    fail "Python 3.11 or newer is needed; none of these is: $candidates." \
        "Install one, or name it: make PYTHON=/path/to/python3 ..."
}

# An environment whose interpreter has gone (an upgrade, a moved folder) is made anew.
if ! is_new_enough "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    echo "creating $venv with $("$python" --version 2>&1)"
    "$python" -m venv --clear "$venv"
fi

pip_install() {
    "$venv/bin/python" -m pip --quiet --no-input --disable-pip-version-check install --progress-bar off "$@"
}

# The lock's entries for pip, much faster than the one that came with Python, and for setuptools, which builds
# the few packages that come as source: without isolation, which would fetch tools that the lock does not name.
build_tools() {
    awk '/^(pip|setuptools)==/ { wanted = 1 } wanted { print } !/\\$/ { wanted = 0 }' requirements.lock
}

echo "installing $(grep -c '==' requirements.lock) packages"
rm -f "$stamp"
build_tools | pip_install --require-hashes --requirement /dev/stdin
pip_install --require-hashes --no-build-isolation --use-pep517 --requirement requirements.lock
pip_install --no-deps --no-build-isolation --no-index --editable clients/python --editable .
touch "$stamp"
