#!/usr/bin/env bash
# Name what a bare Debian or Ubuntu machine lacks, each with the line that installs it.
set -u
python="$1"
missing=0
need() { echo "missing: $1. Install it with: sudo apt-get install -y $2" >&2; missing=1; }
command -v git >/dev/null || need git git
if ! command -v "$python" >/dev/null; then
  need "$python" "python3 python3-venv"
elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "$python is $("$python" -V 2>&1); Headwater needs Python 3.11 or newer." \
    "Name another one: make run-app PYTHON=python3.12" >&2
  missing=1
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  need "python3-venv" "python3-venv"
fi
exit "$missing"
