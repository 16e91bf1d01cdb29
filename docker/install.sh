#!/usr/bin/env bash
# Install Headwater with the named extras into .venv at the exact versions of constraints.txt.
# On Linux the CPU build of torch is taken from TORCH_INDEX when that answers; a mirror without it is no error.
set -euo pipefail
cd "$(dirname "$0")/.."
extras="$1"
pip=(.venv/bin/python -m pip --disable-pip-version-check install --quiet --prefer-binary -c constraints.txt)
index=()
if [ "$(uname -s)" = Linux ] && [ -n "${TORCH_INDEX:-}" ] && ! .venv/bin/python -c 'import torch' 2>/dev/null; then
  if .venv/bin/python - "$TORCH_INDEX" <<'PY' 2>/dev/null
import sys, urllib.request
urllib.request.urlopen(sys.argv[1].rstrip("/") + "/torch/", timeout=4).close()
PY
  then index=(--extra-index-url "$TORCH_INDEX")
  else echo "The CPU index of torch ($TORCH_INDEX) does not answer; taking torch from the package index."; fi
fi
echo "Installing Headwater [$extras] into .venv (several hundred MB the first time; cached by pip afterwards) ..."
log=".venv/install.log"
if ! "${pip[@]}" "${index[@]}" --editable ".[$extras]" >"$log" 2>&1; then
  tail -n 15 "$log" >&2
  echo "The installation failed; the whole log is in $log. Behind a firewall, point pip at a mirror" \
    "(PIP_INDEX_URL=https://mirror/simple make run-app) and run the same command again." >&2
  exit 1
fi
