#!/bin/sh
# Install Debian packages, as root or with sudo; says what to do where neither is to be had.
#
#   deploy/debian.sh PACKAGE…
set -eu

if ! command -v apt-get >/dev/null 2>&1; then
    echo "This is not Debian: please install what corresponds to: $*" >&2
    exit 1
fi

if [ "$(id -u)" -eq 0 ]; then
    as_root="env"
elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    as_root="sudo env"
else
    echo "Missing, and only root may install it: apt-get install $*" >&2
    exit 1
fi

echo "Installing Debian packages: $*"
$as_root apt-get update -qq
$as_root DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends "$@" >/dev/null
