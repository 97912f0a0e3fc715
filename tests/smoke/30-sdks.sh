#!/usr/bin/env bash
# The unmodified SDKs of Segment and RudderStack, for Node, browsers and Python, against the ingest door: what arrives
# must be exactly what they were told. Then every snippet and command of docs/ingest.md, and the program of README.md,
# against a real server.
set -euo pipefail

recorder=${THROUGHLINE_BIN_FOLDER:?name the folder of the binaries}/examples/recorder
python=${THROUGHLINE_PYTHON:?name a Python that has the SDKs}
cd "$(dirname "$0")/../.."
sdks=$PWD/clients/sdk
if [ ! -d "$sdks/node_modules" ] || [ ! -x "$python" ]; then
    echo "the SDKs are not installed: run make setup"
    exit 77
fi
(cd "$sdks" && timeout 170 node run.mjs "$recorder" "$python")

. tests/support/server.sh
start_server log.segment_bytes=1048576
BROWSER_KEY=$(awk '/^  browser write key/ { print $4 }' "$folder/out")
export TOKEN
cp "$sdks/page.mjs" "$folder/"
ln -s "$sdks/node_modules" "$folder/node_modules"

# Each block whose first line is a comment with the name of a file becomes that file; the shell's blocks one script.
awk -v folder="$folder" '
    /^```(js|python)$/ { getline first; sub(/^(\/\/|#) /, "", first); file = folder "/" first; next }
    /^```sh$/ { file = folder "/commands"; next }
    /^```$/ { file = ""; next }
    file { print > file }' docs/ingest.md
# The README shows one program for servers.
awk '/^```js$/ { program = 1; next } /^```$/ { program = 0 } program' README.md >"$folder/readme-server.mjs"
for file in "$folder"/*-*.mjs "$folder"/*-*.py "$folder/commands"; do
    sed -i -e "s|SERVER_KEY|$SERVER_KEY|g" -e "s|BROWSER_KEY|$BROWSER_KEY|g" -e "s|127.0.0.1:7300|${events#http://}|g" \
        -e "s|127.0.0.1:7310|${admin#http://}|g" -e "s|^curl |curl -sS --fail-with-body --max-time 10 -w '\\\\n' |" \
        -e "s|pixel.gif|$folder/pixel.gif|" \
        -e "s|^throughline .*|$THROUGHLINE_BIN_FOLDER/& --admin $admin|" "$file"
done

# How many events the door took since the start.
taken() {
    curl -sS --max-time 10 -H "Authorization: Bearer $TOKEN" "$admin/metrics" |
        awk '/^throughline_ingest_events_total / { print $2 }'
}
snippets=0
# run NAME COUNT COMMAND...: the snippet must bring exactly so many events.
run() {
    local name=$1 wanted=$2 before now
    shift 2
    before=$(taken)
    (cd "$folder" && timeout 60 "$@") >"$folder/said" 2>&1 || fail "$name ended with $?"
    for _ in $(seq 100); do
        now=$(taken)
        if [ "$((now - before))" -ge "$wanted" ]; then break; fi
        sleep 0.05
    done
    [ "$((now - before))" -eq "$wanted" ] || fail "$name brought $((now - before)) events instead of $wanted"
    snippets=$((snippets + 1))
}
run segment-node 2 node segment-node.mjs
run segment-python 2 "$python" segment-python.py
run segment-browser 2 node page.mjs segment-browser.mjs
run rudder-node 2 node rudder-node.mjs
run rudder-python 2 "$python" rudder-python.py
run rudder-browser 2 node page.mjs rudder-browser.mjs
run readme-server 1 node readme-server.mjs
run commands 3 bash -euo pipefail commands
for expected in '"success":true' '"plan":{' '"set_aside":\[' 'must be string (off_plan)' '"message_id": "3"' '1 would be sent' \
    '^1 sent, 0 stay' '^0 discarded'; do
    grep -q "$expected" "$folder/said" || fail "no answer of the commands holds $expected"
done
[ "$(head -c 6 "$folder/pixel.gif")" = GIF89a ] || fail "the pixel is no image"
written=$(grep -cE '^(// |# )[a-z]+-[a-z]+\.(mjs|py)$' docs/ingest.md)
[ "$((written + 2))" -eq "$snippets" ] || fail "the page has $written snippets of SDKs, and $((snippets - 2)) were run"

# A rule holds for the next request, in the words of the page.
rules=$admin/admin/v1/write-keys/1/rules
as_admin=(curl -sS --max-time 10 -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json')
"${as_admin[@]}" -X PUT "$rules" -d '{"origins": ["https://shop.example"], "events": ["A"], "events_per_s": 1, "burst_events": 3}' \
    >"$folder/said"
# send ORIGIN EVENT: prints the status.
send() {
    curl -sS --max-time 10 -o "$folder/said" -w '%{http_code}' -u "$BROWSER_KEY:" -H "Origin: $1" "$events/v1/track" \
        -d "{\"event\": \"$2\", \"userId\": \"u\"}"
}
[ "$(send https://evil.example A)" = 403 ] || fail "a page of another origin may send"
before=$(taken)
[ "$(send https://shop.example A)" = 200 ] || fail "the page's own origin may not send"
[ "$(send https://shop.example B)" = 200 ] || fail "an event that is not listed fails its request"
[ "$(taken)" -eq "$((before + 1))" ] || fail "an event that is not listed was stored"
"${as_admin[@]}" "$admin/admin/v1/set-aside" | grep -q '"event":"B".*"code":"event_not_listed"' ||
    fail "what was set aside is not listed"
limited=
for _ in $(seq 60); do
    if [ "$(send https://shop.example A)" = 429 ]; then
        limited=yes
        break
    fi
done
[ -n "$limited" ] || fail "a key that sends too fast is not slowed down"
echo "$snippets snippets of docs/ingest.md and README.md bring what they say, and the rules of a key hold"
