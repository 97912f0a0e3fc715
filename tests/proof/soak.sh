#!/usr/bin/env bash
# Half an hour of load with a follower that reads far too slowly, a destination that is dead and one that is well: memory,
# open files and what waits stay within bounds that do not grow, and the destination that is well stays close behind.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/server.sh
seconds=${SOAK_SECONDS:-1800}
rate=${SOAK_RATE:-50000}
echo "proves: under $rate events/s for $seconds s with a slow follower and a dead destination, nothing grows"
start_server feed.retention_bytes=536870912 feed.retention_age_days=0 state.resident_bytes_max=1073741824 \
    delivery.allow=127.0.0.0/8+http
printf '%s\n' "$SERVER_KEY" >"$folder/key"
as_admin=(curl -sS --fail --max-time 10 -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json')

"${as_admin[@]}" -X PUT "$admin/admin/v1/audiences/buyers" \
    -d '{"rule": "count(\"Order Completed\", \"30d\") > 0"}' >/dev/null || fail "no audience"
# Nobody listens at the port of the dead one. Both get who enters and leaves.
"${as_admin[@]}" -X PUT "$admin/admin/v1/destinations/dead" -d '{"type": "webhook", "url": "http://127.0.0.1:9/", "audiences": ["buyers"]}' \
    >"$folder/said" || fail "no destination"
"${as_admin[@]}" -X PUT "$admin/admin/v1/destinations/well" -d '{"type": "ndjson", "audiences": ["buyers"]}' \
    >"$folder/said" || fail "no destination"
# 2 KB/s of what are several megabytes.
(while true; do
    curl -sS -N --limit-rate 2k -H "Authorization: Bearer $TOKEN" "$profiles/feed/v1?wait_ms=600000" >/dev/null 2>&1 || true
    sleep 1
done) &
follower=$!

awk -v seconds="$seconds" -v rate="$rate" 'BEGIN {
    srand(7); began = systime()
    for (row = 1; systime() - began < seconds; row++) {
        person = int(200000 * rand() * rand())
        if (row % 50 == 0)
            printf "{\"event\":\"Order Completed\",\"userId\":\"u%d\",\"messageId\":\"m%d\",\"properties\":{\"order_id\":\"o%d\",\"total\":%d,\"currency\":\"EUR\"}}\n", person, row, row, 5 + row % 90
        else
            printf "{\"event\":\"Product Viewed\",\"userId\":\"u%d\",\"messageId\":\"m%d\",\"properties\":{\"product_id\":\"p%d\"}}\n", person, row, row % 500
        if (row % (rate / 10) == 0) { fflush(); while ((systime() - began) * rate < row - rate) system("sleep 0.05") }
    }
}' | "$throughline" send - --to "$events" --write-key-file "$folder/key" --batch 1000 --connections 4 >"$folder/sent" 2>&1 &
sender=$!

# Rows and message ids have bounds of their own, of which the ids' is reached only after a day: memory is what is beside them.
# A line every ten seconds: second, events, memory kB, open files, disk kB, what waits, lag of the one that is well in ms.
began=$(date +%s)
while kill -0 "$sender" 2>/dev/null; do
    sleep 10
    curl -sS --max-time 10 -H "Authorization: Bearer $TOKEN" "$admin/metrics" >"$folder/metrics" || fail "no metrics"
    awk -v second="$(($(date +%s) - began))" -v resident="$(awk '/^VmRSS/ { print $2 }' "/proc/$server/status")" \
        -v files="$(find "/proc/$server/fd" -maxdepth 1 | wc -l)" -v disk="$(du -sk "$folder/data" | cut -f1)" '
        $1 == "throughline_ingest_events_total" { events = $2 }
        $1 == "throughline_delivery_waiting" { waiting = $2 }
        $1 == "throughline_feed_disk_bytes" { feed = $2 }
        $1 ~ /^throughline_destination_lag_milliseconds\{.*"well"/ { lag = $2 }
        $1 == "throughline_dedup_bytes" || $1 == "throughline_resident_bytes" { resident -= $2 / 1024 }
        $1 == "throughline_resident_bytes" { rows = $2 }
        END { print second, events, int(resident), files, disk, waiting, lag, int(feed / 1024), int(rows / 1024) }' "$folder/metrics" | tee -a "$folder/samples"
done
kill "$follower" 2>/dev/null || true
kill -0 "$server" 2>/dev/null || fail "the server is gone"

# The first third is for filling what has a bound; then nothing may grow but the log.
awk '
    { all[NR] = $0 }
    END {
        if (NR < 9) { print "failed: too few samples to say anything"; exit 1 }
        for (n = int(NR / 3) + 1; n <= NR; n++) {
            split(all[n], at)
            half = n <= NR * 2 / 3 ? 1 : 2
            if (at[3] > memory[half]) memory[half] = at[3]
            if (at[4] > files[half]) files[half] = at[4]
            if (at[6] > waiting[half]) waiting[half] = at[6]
            if (at[7] > lag) lag = at[7]
            if (at[8] > feed) feed = at[8]
            if (at[9] > rows) rows = at[9]
        }
        split(all[NR], last)
        printf "soak: %d events, %d/s; memory beside rows and ids %d then %d kB; rows %d kB; open files %d then %d; waiting %d then %d; feed %d kB; lag of the healthy destination at most %d ms; disk %d kB\n",
            last[2], last[2] / last[1], memory[1], memory[2], rows, files[1], files[2], waiting[1], waiting[2], feed, lag, last[5]
        if (memory[2] > memory[1] * 1.05 + 32768) { print "failed: memory grows"; bad = 1 }
        if (files[2] > files[1] + 16) { print "failed: open files grow"; bad = 1 }
        if (waiting[2] > waiting[1] * 1.1 + 1000) { print "failed: what waits grows"; bad = 1 }
        if (rows > 1048576 * 1.1) { print "failed: rows take more than they may"; bad = 1 }
        if (feed > 524288 + 65536) { print "failed: the feed is larger than it may be"; bad = 1 }
        if (lag > 10000) { print "failed: the healthy destination falls behind"; bad = 1 }
        exit bad
    }' "$folder/samples" || fail "something grows"
