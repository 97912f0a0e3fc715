#!/usr/bin/env bash
# The line: every command of docs/line.md, taken from the document and run against a fresh server.
set -euo pipefail

throughline=${THROUGHLINE_BIN:?name the binary}
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
server=
finish() {
    if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then kill -KILL "$server"; fi
    rm -rf "$folder"
}
trap finish EXIT

fail() {
    printf 'failed: %s\n' "$*" >&2
    cat "$folder/out" "$folder/err" "$folder/said" >&2 || true
    exit 1
}

"$throughline" serve --data "$folder/data" --set listen.ingest=127.0.0.1:0 --set listen.admin=127.0.0.1:0 \
    --set listen.profiles=127.0.0.1:0 >"$folder/out" 2>"$folder/err" &
server=$!
for _ in $(seq 400); do
    if grep -q 'server write key' "$folder/out"; then break; fi
    kill -0 "$server" 2>/dev/null || fail "the server did not start"
    sleep 0.05
done
events=$(awk '/^  events in/ { print $3 }' "$folder/out")
admin=$(awk '/^  admin  / { print $2 }' "$folder/out")
TOKEN=$(awk '/^  admin token/ { print $3 }' "$folder/out")
SERVER_KEY=$(awk '/^  server write key/ { print $4 }' "$folder/out")
export TOKEN SERVER_KEY

awk '/^```sh/ { block = 1; next } /^```/ { block = 0 } block' docs/line.md |
    sed -E -e "s|http://127.0.0.1:7310|$admin|g" -e "s|http://127.0.0.1:7300|$events|g" \
        -e "s|^curl |curl -sS --fail-with-body --max-time 10 -w '\\\\n' |" >"$folder/commands"
commands=$(grep -c '^curl ' "$folder/commands")
[ "$commands" -eq 3 ] || fail "$commands commands found in docs/line.md"
bash -euo pipefail "$folder/commands" >"$folder/said" 2>"$folder/err" || fail "a command of docs/line.md failed"
# 0.02 USD at 0.9231 are 0.018462 EUR.
for expected in '"cash_with_attention_minor":4990' '"orders":1' '"campaign":"spring"' '"spend_micro":18462'; do
    grep -q -e "$expected" "$folder/said" || fail "nothing says $expected"
done
curl -sS --max-time 5 "$admin/metrics" | grep -q '^throughline_line{measure="orders"} 1' || fail "no series of the line"
echo "$commands commands of docs/line.md do what it says"
