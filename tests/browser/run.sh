#!/usr/bin/env bash
# Drives the dashboard in a browser: `tests/browser/run.sh path/to/semblance` (README.md has the rest).
set -euo pipefail
binary=$(realpath "${1:-target/debug/semblance}")
cd "$(dirname "$0")"
for needed in node npm "${CHROMIUM:-/usr/bin/chromium}"; do
  if ! command -v "$needed" >/dev/null 2>&1; then
    echo "SKIPPED: the dashboard's browser tests: there is no $needed here"
    exit 0
  fi
done
if ! npm ci --no-audit --no-fund --silent; then
  echo "SKIPPED: the dashboard's browser tests: their packages cannot be had from the registry here"
  exit 0
fi
# One file at a time: each starts a gateway and a browser of its own.
SEMBLANCE_BINARY=$binary exec node --test --test-concurrency=1 --test-reporter=spec
