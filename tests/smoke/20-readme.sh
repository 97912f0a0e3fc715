#!/usr/bin/env bash
# Every command of the README's tour, taken from the README itself and run against a fresh server, with other ports.
set -euo pipefail

. "$(dirname "$0")/../support/server.sh"

start_server log.segment_bytes=1048576 delivery.allow=127.0.0.0/8+http
KEY=$SERVER_KEY
export TOKEN KEY

# A port for the webhook's receiver that nobody has.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

# The shell blocks of the tour, without the build, the start and the two variables, which this script has done.
awk '/^## Five minutes with curl/ { tour = 1; next } /^## / { tour = 0 }
     tour && /^```sh/ { block = 1; next } /^```/ { block = 0 } tour && block' README.md |
    grep -vE '^(cargo build|target/release/throughline serve|TOKEN=|KEY=)' |
    sed -e "s|http://127.0.0.1:7300|$events|g" -e "s|http://127.0.0.1:7310|$admin|g" \
        -e "s|http://127.0.0.1:7311|$profiles|g" -e "s|^curl |curl -sS --max-time 10 -w '\\\\n' |" \
        -e "s|127.0.0.1:9000/|127.0.0.1:$port/|" -e "s|\" 9000 |\" $port |" \
        -e "s|curl -X|curl -sS --max-time 10 -X|" -e "s|target/release/throughline|$throughline|" -e "s|\./data|$folder/data|" >"$folder/tour"
grep -v ' replay --verify ' "$folder/tour" >"$folder/running"
grep ' replay --verify ' "$folder/tour" >"$folder/stopped"
commands=$(grep -c '^curl\|throughline ' "$folder/tour")
[ "$commands" -ge 13 ] || fail "only $commands commands found in the README's tour"

bash -euo pipefail "$folder/running" >"$folder/answers" 2>"$folder/err" || fail "a command of the tour failed"
if grep -q '"code"' "$folder/answers"; then
    cat "$folder/answers" >&2
    fail "an answer of the tour is an error"
fi
for expected in '"success":true' '"suppressed":true,"why":"bought_product"' '"applied_next"' 'suppression_started' \
    'throughline_uptime_seconds' "audience.entered carts \[{'type': 'user_id', 'value': 'john'}\]" \
    'audience.exited carts' '"member":false'; do
    grep -q "$expected" "$folder/answers" || { cat "$folder/answers" >&2; fail "no answer holds $expected"; }
done
if grep -qi 'jane@example' "$folder/answers"; then fail "an e-mail address was shown without the scope for it"; fi

kill -TERM "$server"
wait "$server" || fail "the server ended with $?"
server=
bash -euo pipefail "$folder/stopped" || fail "the replay is not exact"
echo "$commands commands of the README's tour do what it says"
