#!/usr/bin/env bash
# The line: every command of docs/line.md, taken from the document and run against a fresh server.
set -euo pipefail

cd "$(dirname "$0")/../.."
. tests/support/server.sh

start_server
export TOKEN SERVER_KEY

awk '/^```sh/ { block = 1; next } /^```/ { block = 0 } block' docs/line.md |
    sed -E -e "s|http://127.0.0.1:7310|$admin|g" -e "s|http://127.0.0.1:7300|$events|g" \
        -e "s|^curl |curl -sS --fail-with-body --max-time 10 -w '\\\\n' |" -e "s#^throughline #$throughline #" >"$folder/commands"
commands=$(grep -c '^curl \|^[^ ]* attribution ' "$folder/commands")
[ "$commands" -eq 4 ] || fail "$commands commands found in docs/line.md"
bash -euo pipefail "$folder/commands" >"$folder/said" 2>"$folder/err" || fail "a command of docs/line.md failed"
# 0.02 USD at 0.9231 are 0.018462 EUR.
for expected in '"cash_with_attention_minor":4990' '"orders":1' '"campaign":"spring"' '"spend_micro":18462' \
    '^search  *45 ' '^8 paths; 136 people converted'; do
    grep -q -e "$expected" "$folder/said" || fail "nothing says $expected"
done
curl -sS --max-time 5 "$admin/metrics" | grep -q '^throughline_line{measure="orders"} 1' || fail "no series of the line"
echo "$commands commands of docs/line.md do what it says"
