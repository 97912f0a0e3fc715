#!/usr/bin/env bash
# Definitions as files: every command of docs/definitions.md, taken from the document and run against a fresh server, and
# what apply and export do with mistakes, changes and directories of others.
set -euo pipefail

cd "$(dirname "$0")/../.."
. tests/support/server.sh

start_server log.segment_bytes=1048576 state.checkpoint_interval_ms=200
key=$SERVER_KEY
export TOKEN
for user in $(seq 20); do
    curl -sS --max-time 5 -o /dev/null -u "$key:" "$events/v1/track" -d "{\"userId\": \"user-$user\",
        \"event\": \"Product Viewed\", \"messageId\": \"view-$user\", \"properties\": {\"category\": \"shoes\"}}"
done

# The shell blocks of the document, with other addresses and a directory that goes away.
awk '/^```sh/ { block = 1; next } /^```/ { block = 0 } block' docs/definitions.md |
    sed -E -e "s|http://127.0.0.1:7310|$admin|g" -e "s|^curl |curl -sS --max-time 10 -w '\\\\n' |" \
        -e "s#^throughline (apply|export)#$throughline \1 --admin $admin#" -e "s| my-shop| $folder/my-shop|" >"$folder/commands"
commands=$(grep -c '^curl \|^[^ ]* \(apply\|export\) ' "$folder/commands")
[ "$commands" -eq 7 ] || fail "$commands commands found in docs/definitions.md"
bash -euo pipefail "$folder/commands" >"$folder/said" 2>"$folder/err" || fail "a command of docs/definitions.md failed"
for expected in 'To add: 16' '+ audience      lapsed' 'Added: 16' 'Nothing to do: the server has the 17' '"secret":"whsec_' \
    'Nothing to do: the server has the 19' '"differences": \[\]'; do
    grep -q -e "$expected" "$folder/said" || fail "nothing says $expected"
done
if grep -v '"secret"' "$folder/said" | grep -q whsec_; then fail "apply shows a secret"; fi
echo "$commands commands of docs/definitions.md do what it says"

export THROUGHLINE_TOKEN=$TOKEN
apply() { "$throughline" apply "$@" --admin "$admin" >"$folder/said" 2>"$folder/err"; }
code() {
    local wanted=$1
    shift
    local got=0
    "$@" || got=$?
    [ "$got" -eq "$wanted" ] || fail "$* ended with $got"
}
says() { grep -q -e "$1" "$folder/said" "$folder/err" || fail "nothing says $1"; }

cp -r examples/shop "$folder/shop"
sed -i 's/"30d") >= 4/"30d") >= 5/' "$folder/shop/audiences.toml"
code 2 apply "$folder/shop" --dry-run
says '^    - rule = .*>= 4'
says '^    + rule = .*>= 5'
says 'to change: 1'
code 0 apply "$folder/shop" --wait
says 'changed: 1'
sed -i 's/"Product Viewed", "30d") > 0/"Product Viewed", "30d") > tarits.x/' "$folder/shop/audiences.toml"
code 1 apply "$folder/shop"
says 'audiences.toml:[0-9]*:[0-9]*: .*Did you mean `traits`?'
says '^ *^^^^^^^^$'
printf '[[audience]]\nname = "looked"\nrule = %s\n' "'count(\"Product Viewed\", \"7d\") > 0'" >"$folder/shop/audiences.toml"
rm "$folder/shop/destinations.toml"
code 0 apply "$folder/shop" --prune --wait
says 'Added: 1, changed: 0, removed: 16'
members=$(curl -sS --max-time 5 -H "Authorization: Bearer $TOKEN" "$admin/admin/v1/audiences/looked" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["members"])')
[ "$members" -eq 20 ] || fail "after --wait $members of 20 people are found"
echo 'mine = true' >"$folder/my-shop/mine.toml"
code 1 "$throughline" export "$folder/my-shop" --admin "$admin" 2>"$folder/err"
says 'mine.toml was not written by an export'
THROUGHLINE_TOKEN=wrong code 1 apply "$folder/shop"
says 'scope `admin`'
kill -TERM "$server"
wait "$server" || fail "the server ended with $?"
server=
echo "apply shows, changes, waits, prunes and refuses; export leaves other files alone"
