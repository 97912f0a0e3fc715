#!/usr/bin/env bash
# The change feed from outside: `throughline follow`, and the reference follower held against the server over kill -9 of
# either side, under load.
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
    cat "$folder/out" "$folder/err" >&2 || true
    exit 1
}

"$throughline" serve --data "$folder/data" --set listen.ingest=127.0.0.1:0 --set listen.admin=127.0.0.1:0 \
    --set listen.profiles=127.0.0.1:0 --set log.segment_bytes=1048576 >"$folder/out" 2>"$folder/err" &
server=$!
for _ in $(seq 400); do
    if grep -q '^A first order' "$folder/out"; then break; fi
    kill -0 "$server" 2>/dev/null || fail "the server did not start"
    sleep 0.05
done
events=$(awk '/^  events in/ { print $3 }' "$folder/out")
profiles=$(awk '/^  profiles/ { print $2 }' "$folder/out")
key=$(awk '/^  server write key/ { print $4 }' "$folder/out")
THROUGHLINE_TOKEN=$(awk '/^  admin token/ { print $3 }' "$folder/out")
export THROUGHLINE_TOKEN
curl -sS --max-time 5 -o /dev/null -u "$key:" "$events/v1/track" -d '{
    "userId": "jane", "event": "Order Completed", "messageId": "first",
    "properties": {"order_id": "1", "total": 20, "currency": "EUR", "products": [{"product_id": "shoe"}]}}'
"$throughline" follow --url "$profiles" --once >"$folder/readable"
grep -q 'suppression.started .*prf_.* scopes=1$' "$folder/readable" || fail "nobody is suppressed: $(cat "$folder/readable")"
"$throughline" follow --url "$profiles" --once --json --kinds event.accepted >"$folder/json"
grep -q '"name":"Order Completed"' "$folder/json" || fail "no event: $(cat "$folder/json")"
"$throughline" follow --url "$profiles" --once --from-snapshot --json >"$folder/state"
grep -q '"kind":"snapshot.end"' "$folder/state" || fail "no snapshot: $(cat "$folder/state")"
if THROUGHLINE_TOKEN=wrong "$throughline" follow --url "$profiles" --once 2>"$folder/err"; then fail "any token will do"; fi
kill -TERM "$server"
wait "$server" || fail "the server ended with $?"
server=
echo "throughline follow prints what was applied, and the state"
timeout 150 python3 clients/follower/check.py "$throughline" --rounds 5 --seed "${SEED:-1}"
