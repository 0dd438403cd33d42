#!/usr/bin/env bash
# Runs the client checks against the built-in model: `tests/clients/run.sh path/to/semblance`.
set -euo pipefail
binary=$(realpath "$1")
cd "$(dirname "$0")"
work=$(mktemp -d)
gateway=
trap 'if [ -n "$gateway" ]; then kill "$gateway" 2>/dev/null || true; fi; rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
if ! "$work/venv/bin/pip" install --quiet openai==2.54.0 anthropic==2.14.0 2>"$work/pip.log"; then
  echo "SKIPPED: the client packages cannot be installed here: $(tail -n 1 "$work/pip.log")"
  exit 0
fi
mkfifo "$work/line"
"$binary" serve --json --upstream demo --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 \
  --data-dir "$work/data" --log-level warn >"$work/line" &
gateway=$!
read -r line <"$work/line"
listen=$(printf '%s' "$line" | sed 's/.*"listen":"\([^"]*\)".*/\1/')
for checks in openai_chat.py openai_responses.py openai_embeddings.py; do
  "$work/venv/bin/python" "$checks" "http://$listen/v1"
done
"$work/venv/bin/python" anthropic_messages.py "http://$listen"
