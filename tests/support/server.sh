# For scripts that try a real server from outside: a folder that goes away, and a server in it that is killed at the end.
# Source it with THROUGHLINE_BIN set.

throughline=${THROUGHLINE_BIN:?name the binary}
folder=$(mktemp -d)
server=
finish() {
    if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
        kill -KILL "$server"
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap finish EXIT

fail() {
    printf 'failed: %s\n' "$*" >&2
    for said in out err said; do
        if [ -e "$folder/$said" ]; then cat "$folder/$said" >&2; fi
    done
    exit 1
}

# Starts a server on free ports, with more settings if any are given, and reads what it says at its first start: $events,
# $admin, $profiles (addresses), $TOKEN, $SERVER_KEY.
start_server() {
    local settings=()
    for setting in "$@"; do settings+=(--set "$setting"); done
    "$throughline" serve --data "$folder/data" --set listen.ingest=127.0.0.1:0 --set listen.admin=127.0.0.1:0 \
        --set listen.profiles=127.0.0.1:0 "${settings[@]}" >"$folder/out" 2>"$folder/err" &
    server=$!
    for _ in $(seq 400); do
        if grep -q 'server write key' "$folder/out"; then break; fi
        kill -0 "$server" 2>/dev/null || fail "the server did not start"
        sleep 0.05
    done
    events=$(awk '/^  events in/ { print $3 }' "$folder/out")
    admin=$(awk '/^  admin  / { print $2 }' "$folder/out")
    profiles=$(awk '/^  profiles/ { print $2 }' "$folder/out")
    TOKEN=$(awk '/^  admin token/ { print $3 }' "$folder/out")
    SERVER_KEY=$(awk '/^  server write key/ { print $4 }' "$folder/out")
    [ -n "$SERVER_KEY" ] || fail "the server says no key"
}
