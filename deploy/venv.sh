#!/bin/sh
# Bring a virtual environment in step with a hashed lock; does nothing when it already is.
#
#   deploy/venv.sh FOLDER LOCK [LOCK-THAT-IT-INCLUDES…]
#
# What is installed is kept as a copy of the lock inside the environment. An environment in step
# with dev.lock is in step with base.lock too, so `make run` after `make test` installs nothing.
set -eu

venv=$1
lock=$2
shift

in_step() {
    [ -x "$venv/bin/python" ] && cmp -s "$lock" "$venv/locks/$(basename "$lock")"
}

find_python() {
    for name in ${PYTHON:-python3.11 python3 python}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "Python 3.11 or newer is needed and was not found: install it, or name it, as in \`make run PYTHON=/path/to/python\`." >&2
    return 1
}

can_make_environments() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null
}

# Debian ships the module that makes virtual environments as a package of its own.
need_venv_module() {
    if can_make_environments; then return; fi
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    "$(dirname "$0")/debian.sh" "$version-venv" || true
    if can_make_environments; then return; fi
    echo "$python cannot make virtual environments: install the package $version-venv and try again." >&2
    return 1
}

if in_step; then exit 0; fi

python=$(find_python)
need_venv_module

# A changed lock starts from nothing, so that what it no longer names is gone.
if [ -d "$venv/locks" ]; then rm -rf "$venv"; fi
echo "Setting up $venv from $lock; this takes a minute or two, once."
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$lock"
mkdir -p "$venv/locks"
cp "$@" "$venv/locks/"
