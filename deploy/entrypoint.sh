#!/bin/sh
# No process of production starts with embedded parts, demo accounts or missing secrets.
set -eu
python -m server check --deploy --database default
exec "$@"
