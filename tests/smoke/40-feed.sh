#!/usr/bin/env bash
# The change feed from outside: `throughline follow`, and the reference follower held against the server over kill -9 of
# either side, under load.
set -euo pipefail

cd "$(dirname "$0")/../.."
. tests/support/server.sh

start_server log.segment_bytes=1048576
key=$SERVER_KEY
export THROUGHLINE_TOKEN=$TOKEN
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
