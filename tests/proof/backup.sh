#!/usr/bin/env bash
# While events come in at 20,000/s, the data directory is backed up, three times into the same folder. Each backup is
# restored elsewhere and replayed: it gives the state that the server itself recorded at the backup's checkpoint, and all
# that was acknowledged before the backup began is in it.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/server.sh
echo "proves: a backup under load restores to the same state at its position, with all that was acknowledged before it"
rows=${BACKUP_ROWS:-3000000}
rate=${BACKUP_RATE:-20000}
start_server
printf '%s\n' "$SERVER_KEY" >"$folder/key"

# metric NAME: its value.
metric() {
    curl -sS --max-time 10 -H "Authorization: Bearer $TOKEN" "$admin/metrics" | awk -v name="$1" '$1 == name { print $2 }'
}

for audience in 'often=count("Product Viewed", "7d") > 3' 'buyers=sum("Order Completed", "value", "30d") > 50'; do
    curl -sS --fail --max-time 10 -X PUT -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
        "$admin/admin/v1/audiences/${audience%%=*}" \
        -d "{\"rule\": \"$(printf '%s' "${audience#*=}" | sed 's/"/\\"/g')\"}" >/dev/null || fail "no audience"
done

# A pipe is no file that an import can go on with, so events are sent as lines; the pace is the writer's.
awk -v rows="$rows" -v rate="$rate" 'BEGIN {
    srand(7); began = systime(); written = 0
    for (row = 1; row <= rows; row++) {
        person = int(200000 * rand() * rand())
        if (row % 20 == 0)
            printf "{\"event\":\"Order Completed\",\"userId\":\"u%d\",\"messageId\":\"m%d\",\"properties\":{\"order_id\":\"o%d\",\"total\":%d,\"currency\":\"EUR\"}}\n", person, row, row, 5 + row % 90
        else
            printf "{\"event\":\"Product Viewed\",\"userId\":\"u%d\",\"messageId\":\"m%d\",\"properties\":{\"product_id\":\"p%d\"}}\n", person, row, row % 500
        if (row % (rate / 10) == 0) { fflush(); while ((systime() - began) * rate < row - rate) system("sleep 0.05") }
    }
}' | "$throughline" send - --to "$events" --write-key-file "$folder/key" --batch 500 --connections 4 >"$folder/sent" 2>"$folder/said" &
sender=$!

began=$(date +%s)
for round in 1 2 3; do
    sleep 8
    kill -0 "$sender" 2>/dev/null || fail "the load ended before backup $round: give it more BACKUP_ROWS"
    metric throughline_records_applied_total >"$folder/before-$round"
    "$throughline" backup "$folder/backups" --data "$folder/data" >"$folder/said" || fail "backup $round failed"
    kill -0 "$sender" 2>/dev/null || fail "the load ended during backup $round: give it more BACKUP_ROWS"
    rate_seen=$(($(cat "$folder/before-$round") / ($(date +%s) - began + 1)))
    echo "backup $round at $(cat "$folder/before-$round") records, about $rate_seen/s: $(head -1 "$folder/said")"
done
kill "$sender" 2>/dev/null || true
wait "$sender" 2>/dev/null || true

round=0
for backup in "$folder"/backups/0*; do
    round=$((round + 1))
    "$throughline" restore "$backup" --to "$folder/restored-$round" >"$folder/said" || fail "backup $round does not restore"
    cp -p "$folder/data/master.secret" "$folder/restored-$round/"
    state=$(python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["checkpoints"][-1]["state"])' "$backup/backup.json")
    "$throughline" replay --verify --json --data "$folder/restored-$round" >"$folder/replayed" || {
        cat "$folder/replayed"
        fail "backup $round: the log gives another state than the server recorded"
    }
    grep -q "\"state_replayed\": \"$state\"" "$folder/replayed" || fail "backup $round: the digest $state was not met"
    records=$("$throughline" log verify --json --data "$folder/restored-$round" | python3 -c 'import json, sys
print(json.load(sys.stdin)["next"])')
    acknowledged=$(cat "$folder/before-$round")
    [ "$records" -ge "$acknowledged" ] || fail "backup $round holds $records records, and $acknowledged were applied before it began"
    echo "backup $round: $records records, $acknowledged applied before it began; state $state again"
    rm -rf "$folder/restored-$round"
done
[ "$round" -eq 3 ] || fail "there are $round backups"
echo "backup: three backups under load hold what was acknowledged, and give the same state again"
