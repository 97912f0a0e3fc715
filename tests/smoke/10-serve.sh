#!/usr/bin/env bash
# The tour of the README with curl: first start, first order, first decision, a restart, a proof, a clean end.
set -euo pipefail

throughline=${THROUGHLINE_BIN:?name the binary}
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

# Port 0 takes free ones; the greeting names them.
start() {
    "$throughline" serve --data "$folder/data" --set listen.ingest=127.0.0.1:0 --set listen.admin=127.0.0.1:0 \
        --set listen.profiles=127.0.0.1:0 --set log.segment_bytes=1048576 >"$folder/out" 2>"$folder/err" &
    server=$!
    for _ in $(seq 200); do
        if grep -q '^  profiles' "$folder/out"; then break; fi
        kill -0 "$server" 2>/dev/null || fail "the server did not start"
        sleep 0.05
    done
    events=$(awk '/^  events in/ { print $3 }' "$folder/out")
    admin=$(awk '/^  admin  / { print $2 }' "$folder/out")
    profiles=$(awk '/^  profiles/ { print $2 }' "$folder/out")
    [ -n "$profiles" ] || fail "the server says no addresses"
}

stop() {
    kill -TERM "$server"
    wait "$server" || fail "the server ended with $?"
    server=
}

decide() {
    curl -sS --max-time 5 -H "Authorization: Bearer $token" -H 'Content-Type: application/json' "$profiles/v1/decide" \
        -d "{\"identifiers\": [{\"type\": \"$1\", \"value\": \"$2\"}], \"product_id\": \"$3\"}"
}

expect() {
    case $2 in
        *"$1"*) ;;
        *) fail "expected $1 in: $2" ;;
    esac
}

start
sed -n '/^Keep these/q;p' "$folder/out"
token=$(awk '/^  admin token/ { print $3 }' "$folder/out")
key=$(awk '/^  server write key/ { print $4 }' "$folder/out")
[ -n "$token" ] && [ -n "$key" ] || fail "the first start printed no token or key"
expect '"ready":true' "$(curl -sS --max-time 5 "$admin/readyz")"
expect '"suppressed":false' "$(decide user_id jane shoe)"
expect '"success":true' "$(curl -sS --max-time 5 -u "$key:" "$events/v1/track" -d '{
    "userId": "jane", "anonymousId": "phone-1", "event": "Order Completed", "messageId": "first",
    "properties": {"order_id": "1", "total": 20, "currency": "EUR", "products": [{"product_id": "shoe"}]}}')"
expect '"suppressed":true' "$(decide anonymous_id phone-1 shoe)"
expect '"suppressed":false' "$(decide user_id jane hat)"
expect 'throughline_ingest_events_total 1' "$(curl -sS --max-time 5 "$admin/metrics")"
echo "an order at the door, suppressed for another identifier at once"
stop

start
if grep -q 'admin token  ' "$folder/out"; then fail "the second start made credentials"; fi
expect '"suppressed":true' "$(decide user_id jane shoe)"
expect '"code":"unauthorized"' "$(token=wrong decide user_id jane shoe)"
echo "a restart keeps it"
stop

"$throughline" replay --verify --data "$folder/data"
"$throughline" log verify --data "$folder/data" | tail -1
"$throughline" log inspect --json --data "$folder/data" >/dev/null
"$throughline" config check >/dev/null
if "$throughline" config check --set listen.admin=0.0.0.0:7310 2>"$folder/err"; then fail "an open address was taken"; fi
[ "$("$throughline" version | cut -d' ' -f1)" = throughline ] || fail "no version"
echo "replay and log verify; the address rule holds"
