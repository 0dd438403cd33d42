#!/usr/bin/env bash
# Runs every client's checks against a gateway: `tests/clients/run.sh path/to/semblance` (README.md has the rest).
set -euo pipefail
if ! command -v python3 >/dev/null 2>&1; then
  echo "SKIPPED: all client checks: there is no python3 here"
  exit 0
fi
exec python3 "$(dirname "$0")/bench/run.py" "$@"
