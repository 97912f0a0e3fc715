#!/usr/bin/env bash
# The commands of docs/import.md against a real server; then an import that is killed again and again, and whose server is
# killed too, until it is done: every row counts once, and every row that cannot be taken is reported once.
set -euo pipefail

cd "$(dirname "$0")/../.."
. tests/support/server.sh
start_server log.segment_bytes=1048576
program=$throughline
export TOKEN
printf '%s\n' "$SERVER_KEY" >"$folder/key"

# metric NAME: its value.
metric() {
    curl -sS --max-time 10 -H "Authorization: Bearer $TOKEN" "$admin/metrics" | awk -v name="$1" '$1 == name { print $2 }'
}

awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' docs/import.md >"$folder/commands"
sed -i -e "s|throughline import|$program import --to $events|" "$folder/commands"
(cd "$folder" && bash -euo pipefail commands) >"$folder/said" 2>&1 || { cat "$folder/said"; fail "a command of the page failed"; }
[ "$(grep -c 'rows: 0 done before' "$folder/said")" -eq 4 ] || fail "not every command said what it did"
[ "$(metric throughline_ingest_events_total)" = 6 ] || fail "the page's files did not bring 6 events"
curl -sS --max-time 10 -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' "$profiles/v1/profiles/lookup" \
    -d '{"identifier": {"type": "user_id", "value": "1001"}}' >"$folder/profile"
for expected in '"newsletter":true' '"value_minor":5990' '"at":"2026-03-04T10:20:30.000Z"' '"name":"Home"'; do
    tr -d ' ' <"$folder/profile" | grep -qF "$expected" || { cat "$folder/profile"; fail "the profile does not hold $expected"; }
done

# 300,000 rows, of which every thousandth names nobody.
awk 'BEGIN { for (row = 1; row <= 300000; row++)
    printf "{\"event\":\"Imported\",%s\"n\":%d}\n", row % 1000 ? "\"userId\":\"u" row % 700 "\"," : "", row }' >"$folder/big.ndjson"
before=$(metric throughline_records_applied_total)
import=("$program" import "$folder/big.ndjson" --as events --write-key-file "$folder/key" --to "$events" --batch 200)
kills=0
while [ "$kills" -lt 6 ]; do
    "${import[@]}" >"$folder/said" 2>&1 &
    pid=$!
    sleep "1.$((kills * 2))"
    if ! kill -9 "$pid" 2>/dev/null; then break; fi
    wait "$pid" 2>/dev/null || true
    kills=$((kills + 1))
done
[ "$kills" -gt 0 ] || fail "the import was never killed"
status=0
"${import[@]}" --json >"$folder/summary" 2>"$folder/said" || status=$?
[ "$status" -eq 1 ] || fail "300 rows name nobody, and the import ended with $status"
grep -q '"rows": 300000' "$folder/summary" || { cat "$folder/summary" "$folder/said"; fail "not all rows are done"; }
[ "$(sort -u "$folder/big.ndjson.refused.ndjson" | wc -l)" -eq 300 ] || fail "not 300 rows were reported"
[ "$(wc -l <"$folder/big.ndjson.refused.ndjson")" -eq 300 ] || fail "rows were reported twice"
stored=$(($(metric throughline_records_applied_total) - before))
again=$(metric throughline_duplicates_total)
[ "$stored" -eq 299700 ] || fail "$stored rows were stored, and $again came again: that is not each row once"
[ "$again" -lt 299700 ] || fail "every run began at the first row"
echo "import: 300,000 rows after $kills kills, $again of them sent again, each counted once"
