#!/usr/bin/env bash
# Every command of docs/operating.md that needs no root, in its order, against a server of its own; then what must be refused.
set -euo pipefail

throughline=${THROUGHLINE_BIN:?name the binary}
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
finish() {
    if [ -s "$folder/pid" ] && kill -0 "$(cat "$folder/pid")" 2>/dev/null; then kill -KILL "$(cat "$folder/pid")"; fi
    rm -rf "$folder"
}
trap finish EXIT

fail() {
    printf 'failed: %s\n' "$*" >&2
    cat "$folder/out" "$folder/err" "$folder/said" >&2 || true
    exit 1
}

# The document names its ports, so free ones are chosen and put in their place.
read -r ingest admin profiles < <(python3 -c '
import socket
held = [socket.socket() for _ in range(3)]
for one in held:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))')
cat >"$folder/throughline.toml" <<SETTINGS
[listen]
ingest = "127.0.0.1:$ingest"
admin = "127.0.0.1:$admin"
profiles = "127.0.0.1:$profiles"
[data]
directory = "$folder/data"
[log]
segment_bytes = 1048576
[state]
checkpoint_interval_ms = 200
resident_bytes_max = 67108864
[dedup]
bytes_max = 67108864
SETTINGS

# What stands for `throughline` in the document: `serve` goes to the background, and `doctor` may find the machine slow.
cat >"$folder/functions" <<FUNCTIONS
folder=$folder
throughline() {
    case \$1 in
        serve)
            "$throughline" "\$@" >"\$folder/out" 2>"\$folder/err" &
            echo \$! >"\$folder/pid"
            for _ in \$(seq 400); do
                if grep -q 'server write key' "\$folder/out"; then break; fi
                kill -0 "\$(cat "\$folder/pid")" || return 1
                sleep 0.05
            done
            key=\$(awk '/^  server write key/ { print \$4 }' "\$folder/out")
            for user in \$(seq 50); do
                curl -sS --max-time 5 -o /dev/null -u "\$key:" "http://127.0.0.1:$ingest/v1/track" \\
                    -d "{\"userId\": \"user-\$user\", \"event\": \"Product Viewed\", \"messageId\": \"view-\$user\"}"
            done
            mkdir "\$folder/safe" && cp -p "\$folder/data/master.secret" "\$folder/data/keyring" "\$folder/safe/"
            # The end of the log is replayed from here; without a checkpoint there would be nothing to compare.
            for _ in \$(seq 200); do
                if ls "\$folder"/data/state/manifest-* >/dev/null 2>&1; then break; fi
                sleep 0.05
            done
            ;;
        doctor)
            local code=0
            "$throughline" "\$@" || code=\$?
            echo "doctor ended with \$code"
            ;;
        *) "$throughline" "\$@" ;;
    esac
}
FUNCTIONS
awk '/^```sh/ { block = 1; next } /^```/ { block = 0 } block' docs/operating.md |
    sed -E -e "s|http://127.0.0.1:7310|http://127.0.0.1:$admin|g" -e "s|^curl |curl -sS --max-time 10 -w '\\\\n' |" \
        -e "s|/etc/throughline/|$folder/|g" -e "s|/backups/shop|$folder/backups|g" \
        -e "s|/var/lib/throughline-restored|$folder/restored|g" -e "s|/safe/|$folder/safe/|g" >"$folder/commands"
commands=$(grep -c '^\(throughline\|curl\|cp\) ' "$folder/commands")
[ "$commands" -eq "$(wc -l <"$folder/commands")" ] || fail "a command of docs/operating.md is not understood"
[ "$commands" -eq 15 ] || fail "$commands commands found in docs/operating.md"
cat "$folder/functions" "$folder/commands" >"$folder/script"
bash -euo pipefail "$folder/script" >"$folder/said" 2>"$folder/complaints" ||
    { cat "$folder/complaints" >&2; fail "a command of docs/operating.md failed"; }
for expected in '^ok *configuration' '^ok *keyring' 'none answers at' '"ready":true' '^ok *server *ready at' \
    'answered by a Throughline server' 'positions 0 to' '"shared_files"' 'every digest as it was' \
    'put your copy of keyring' ': exact' 'no damage' 'throughline_ingest_events_total 50'; do
    grep -q -e "$expected" "$folder/said" || fail "nothing says $expected"
done
if grep -q DIFFERENT "$folder/said"; then fail "the restored log gives another state"; fi
echo "$commands commands of docs/operating.md do what it says"

# The digest that the backup names is what the replay of the restored directory gives.
state=$(python3 -c 'import glob, json, sys
newest = sorted(glob.glob(sys.argv[1] + "/0*/backup.json"))[-1]
print(json.load(open(newest))["checkpoints"][-1]["state"])' "$folder/backups")
"$throughline" replay --verify --json --data "$folder/restored" | grep -q "\"state_replayed\": \"$state\"" ||
    fail "the restored directory does not give the digest $state"
kill -TERM "$(cat "$folder/pid")"
for _ in $(seq 400); do
    if ! kill -0 "$(cat "$folder/pid")" 2>/dev/null; then break; fi
    sleep 0.05
done

refused() {
    local what=$1
    shift
    if "$throughline" "$@" >"$folder/said" 2>&1; then fail "$* was not refused"; fi
    grep -q -e "$what" "$folder/said" || fail "nothing says $what"
}
refused 'is not empty' restore "$folder/backups" --to "$folder/restored"
newest=$(printf '%s\n' "$folder"/backups/0* | tail -1)
segment=$(printf '%s\n' "$newest"/log/*.seg | head -1)
printf 'X' | dd of="$segment" bs=1 seek=300 conv=notrunc status=none
refused "$(basename "$segment") is damaged" restore "$newest" --to "$folder/other"
if [ -e "$folder/other/log" ]; then fail "a damaged backup left a data directory"; fi
# A stopped server is backed up as well, and the damaged file is not taken over.
"$throughline" backup "$folder/backups" --config "$folder/throughline.toml" --with-keys >"$folder/said"
"$throughline" restore "$folder/backups" --to "$folder/other" >"$folder/said"
"$throughline" replay --verify --data "$folder/other" >"$folder/said" || fail "the replay is not exact"
if command -v systemd-analyze >/dev/null 2>&1; then
    # The paths of the unit are not of this machine: only what else is wrong counts.
    wrong=$(systemd-analyze verify examples/deploy/throughline.service 2>&1 | grep -v 'is not executable' || true)
    [ -z "$wrong" ] || fail "the unit of systemd: $wrong"
fi
echo "a wrong byte is refused by name, a stopped server is backed up, the unit is understood"
