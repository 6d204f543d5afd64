#!/bin/sh
# Install the servers and programs that the tests talk to, where they are missing.
set -eu

missing=""

need() {
    package=$1
    shift
    for candidate in "$@"; do
        if command -v "$candidate" >/dev/null 2>&1; then return; fi
    done
    missing="$missing $package"
}

need postgresql postgres /usr/lib/postgresql/*/bin/postgres
need redis-server redis-server
need ceph-mon ceph-mon
need ceph-osd ceph-osd
need radosgw radosgw
need chromium chromium chromium-browser
need gettext msgfmt
need ffmpeg ffmpeg
if ! /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null; then missing="$missing python3-aiosmtpd"; fi
if [ -z "$(find /usr/share/fonts "$HOME/.fonts" "$HOME/.local/share/fonts" -name 'NotoSansCJK*' 2>/dev/null | head -n 1)" ]; then
    missing="$missing fonts-noto-cjk"
fi

if [ -z "$missing" ]; then exit 0; fi
# shellcheck disable=SC2086 - a list of package names
if ! "$(dirname "$0")/debian.sh" $missing; then
    if [ -n "${CI:-}" ]; then exit 1; fi
    echo "Going on without; the tests that need them are skipped." >&2
fi
