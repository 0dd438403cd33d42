#!/usr/bin/env bash
# Runs the client checks: `tests/clients/run.sh path/to/semblance`. What cannot be installed here is skipped with a word.
set -euo pipefail
binary=$(realpath "$1")
cd "$(dirname "$0")"
work=$(mktemp -d)
started=()
trap 'for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done; rm -rf "$work"' EXIT

# Starts a gateway in front of $1; sets `listen`.
gateway() {
  mkfifo "$work/line.$2"
  "$binary" serve --json --upstream "$1" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 \
    --data-dir "$work/data.$2" --log-level warn "${@:3}" >"$work/line.$2" &
  started+=($!)
  read -r line <"$work/line.$2"
  listen=$(printf '%s' "$line" | sed 's/.*"listen":"\([^"]*\)".*/\1/')
}

python3 -m venv "$work/venv"
if ! "$work/venv/bin/pip" install --quiet -r python/requirements.txt 2>"$work/pip.log"; then
  echo "SKIPPED: the Python clients cannot be installed here: $(tail -n 1 "$work/pip.log")"
  exit 0
fi
python() { PYTHONPATH=python PYTHONDONTWRITEBYTECODE=1 "$work/venv/bin/python" "$@"; }

gateway demo demo
for checks in openai_chat.py openai_responses.py openai_embeddings.py; do python "demo/$checks" "http://$listen/v1"; done
python demo/anthropic_messages.py "http://$listen"

mkfifo "$work/provider" "$work/hold"
# It serves until its standard input ends.
exec 9<>"$work/hold"
python3 provider.py <"$work/hold" >"$work/provider" &
started+=($!)
read -r line <"$work/provider"
provider=$(printf '%s' "$line" | sed 's/.*"listen": "\([^"]*\)".*/\1/')
gateway "http://$provider" provider --store-tool-calls true
for checks in openai_sdk anthropic_sdk langchain_clients llama_index_client litellm_client; do
  python "python/$checks.py" "$listen" "$provider"
done

if ! command -v npm >/dev/null 2>&1; then
  echo "SKIPPED: the Node clients need node and npm"
  exit 0
fi
cp node/* "$work"
if ! (cd "$work" && npm ci --silent --no-audit --no-fund >"$work/npm.log" 2>&1); then
  echo "SKIPPED: the Node clients cannot be installed here: $(tail -n 1 "$work/npm.log")"
  exit 0
fi
for checks in openai anthropic ai_sdk; do node "$work/$checks.mjs" "$listen" "$provider" 2>&1 | grep -v "AI SDK Warning"; done
