#!/usr/bin/env bash
# Traces of single requests, read by a collector made of OpenTelemetry's own classes: the exact tree, who is followed and
# who is not, nothing personal in it; and a collector that hangs, refuses or is gone costs spans and no request anything.
set -euo pipefail

cd "$(dirname "$0")/../.."
. tests/support/server.sh
python=${THROUGHLINE_PYTHON:?name a Python that has opentelemetry-proto}
if ! "$python" -c 'import opentelemetry.proto.trace.v1.trace_pb2' 2>/dev/null; then
    echo "opentelemetry-proto is not installed: run make setup"
    exit 77
fi

collector=
end_collector() {
    if [ -n "$collector" ]; then
        kill -KILL "$collector" 2>/dev/null || true
        wait "$collector" 2>/dev/null || true
        collector=
    fi
}
trap 'end_collector; finish' EXIT
spans=$folder/spans
touch "$spans"
port=0
# start_collector [--refuse N]: on a free port, and on the same one ever after.
start_collector() {
    : >"$folder/port"
    "$python" clients/otlp-receiver/receiver.py "$spans" --port "$port" "$@" >"$folder/port" 2>>"$folder/collector-err" &
    collector=$!
    for _ in $(seq 200); do
        if [ -s "$folder/port" ]; then break; fi
        kill -0 "$collector" || fail "the collector did not start: $(cat "$folder/collector-err")"
        sleep 0.05
    done
    port=$(cat "$folder/port")
}

PARENT=b7ad6b7169203331
# trace N: a trace id of its own for each case.
trace() { printf '0af7651916cd43dd8448eb21%08x' "$1"; }
# post TRACE FLAGS PATH BODY [ARGUMENT...]: prints the status and the seconds that it took.
post() {
    local id=$1 flags=$2 path=$3 body=$4
    shift 4
    curl -sS --max-time 5 -o "$folder/said" -w '%{http_code} %{time_total}\n' -H "traceparent: 00-$id-$PARENT-$flags" \
        "$@" "$events$path" -d "$body"
}
metric() { curl -sS --max-time 5 "$admin/metrics" | awk -v name="throughline_$1" '$1 == name { print $2 }'; }
check() { "$python" clients/otlp-receiver/check.py "$spans" "$@" || fail "the trace is not as it should be"; }
# await TRACE: until the collector has something of it.
await() {
    for _ in $(seq 200); do
        if grep -q "\"trace\": \"$1\"" "$spans"; then return; fi
        sleep 0.05
    done
    fail "trace $1 did not arrive: $(cat "$folder/collector-err")"
}
expect() { [ "$1" = "$2" ] || fail "$3: $1 instead of $2"; }

start_collector
start_server "telemetry.traces.endpoint=http://127.0.0.1:$port" telemetry.traces.sample_per_million=0 \
    telemetry.traces.per_second_max=1000
curl -sS --fail-with-body --max-time 5 -o /dev/null -X PUT -H "Authorization: Bearer $TOKEN" \
    -H 'Content-Type: application/json' \
    "$admin/admin/v1/destinations/files" -d '{"type": "ndjson", "class": "transactional"}'

batch='{"batch": [
    {"type": "identify", "userId": "jane-the-shopper", "messageId": "1", "traits": {"email": "jane@example.com"}},
    {"type": "track", "userId": "jane-the-shopper", "event": "Product Viewed", "messageId": "2"},
    {"type": "track", "userId": "jane-the-shopper", "event": "Order Completed", "messageId": "3", "properties": {
        "order_id": "o-1", "total": 20, "currency": "EUR", "products": [{"product_id": "shoe"}]}}]}'
read -r status _ < <(post "$(trace 1)" 01 /v1/batch "$batch" -u "$SERVER_KEY:")
expect "$status" 200 'a traced batch'
await "$(trace 1)"
check tree "$(trace 1)" $PARENT /v1/batch 200 3 "${#batch}"
for _ in $(seq 100); do
    if grep -q '"name": "deliver"' "$spans"; then break; fi
    sleep 0.05
done
check delivered "$(trace 1)" files

# Who does not ask, asks not to be, or asks in a way that cannot be read is not followed.
single='{"userId": "jane-the-shopper", "event": "Product Viewed"}'
post "$(trace 2)" 00 /v1/track "$single" -u "$SERVER_KEY:" >/dev/null
post "0AF7651916CD43DD8448EB2100000003" 01 /v1/track "$single" -u "$SERVER_KEY:" >/dev/null
curl -sS --max-time 5 -o /dev/null -u "$SERVER_KEY:" "$events/v1/track" -d "$single"
# The beacon has its write key in the query, and a bad body is refused while it is read.
read -r status _ < <(post "$(trace 4)" 01 "/beacon/v1/batch?writeKey=$SERVER_KEY" "$batch")
expect "$status" 200 'a traced beacon'
read -r status _ < <(post "$(trace 5)" 01 /v1/track '{"userId": "jane-the-shopper"' -u "$SERVER_KEY:")
expect "$status" 400 'a bad body'
await "$(trace 4)"
await "$(trace 5)"
check refused "$(trace 5)" $PARENT /v1/track 400
check absent "$(trace 2)"
check absent 0af7651916cd43dd8448eb2100000003
expect "$(check roots)" 3 'requests that were followed'
expect "$(metric traces_total)" 3 'throughline_traces_total'
if grep -q -i -e "$SERVER_KEY" -e jane -e writeKey -e example.com -e shoe "$spans"; then
    fail "a span holds what somebody sent: $(cat "$spans")"
fi
expect "$(metric trace_spans_exported_total)" "$(wc -l <"$spans")" 'spans that the collector took'
expect "$(metric trace_spans_dropped_total)" 0 'spans that were lost'
echo "who asks for it is followed, through every stage; nobody else, and nothing personal"

# A collector that is busy gets the spans a moment later.
end_collector
start_collector --refuse 2
post "$(trace 6)" 01 /v1/track "$single" -u "$SERVER_KEY:" >/dev/null
await "$(trace 6)"
check tree "$(trace 6)" $PARENT /v1/track 200 1 "${#single}"
[ "$(metric trace_export_failures_total)" -ge 2 ] || fail 'refusals were not counted'
expect "$(metric trace_spans_dropped_total)" 0 'spans that were lost'
echo "a collector that refuses is asked again"

# One that hangs, then one that is gone: every request is answered as fast as ever, and every span is counted as lost.
kill -STOP "$collector"
slowest=0
for number in $(seq 100 139); do
    if [ "$number" = 120 ]; then end_collector; fi
    read -r status seconds < <(post "$(trace "$number")" 01 /v1/track "$single" -u "$SERVER_KEY:")
    expect "$status" 200 'a request while nobody takes spans'
    slowest=$(printf '%s\n%s\n' "$slowest" "$seconds" | sort -g | tail -1)
done
[ "$(awk -v slowest="$slowest" 'BEGIN { print (slowest < 2) }')" = 1 ] || fail "a request took $slowest s"
lost=$((40 * 7))
for _ in $(seq 600); do
    if [ "$(metric trace_spans_dropped_total)" -ge $lost ]; then break; fi
    sleep 0.1
done
expect "$(metric trace_spans_dropped_total)" $lost 'spans that were lost'
for number in $(seq 100 139); do check absent "$(trace "$number")"; done
grep -q 'traces are lost' "$folder/err" || fail 'the log says nothing of it'
echo "without a collector 40 requests took $slowest s at most, and $lost spans are counted as lost"

# And it goes on once there is one again, to the last request before the end.
start_collector
post "$(trace 200)" 01 /v1/track "$single" -u "$SERVER_KEY:" >/dev/null
await "$(trace 200)"
post "$(trace 201)" 01 /v1/track "$single" -u "$SERVER_KEY:" >/dev/null
kill -TERM "$server"
wait "$server" || fail "the server ended with $?"
server=
await "$(trace 201)"
check tree "$(trace 201)" $PARENT /v1/track 200 1 "${#single}"
if [ -s "$folder/collector-err" ]; then fail "the collector complains: $(cat "$folder/collector-err")"; fi
echo "it goes on by itself, and a stop sends what is left"

if "$throughline" config check --set telemetry.traces.endpoint=nonsense 2>"$folder/err"; then fail "any endpoint will do"; fi
grep -q 'telemetry.traces.endpoint' "$folder/err" || fail "nobody says which setting is wrong"
