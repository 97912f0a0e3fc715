#!/usr/bin/env bash
# 9,900 connections that say nothing, or half a head, beside a door that takes 10,000: others are served as before, the
# server's memory stays small, and the silent ones are cut off when their time is over.
set -euo pipefail

THROUGHLINE_BIN=${THROUGHLINE_BIN:-target/release/throughline}
if [ ! -x "$THROUGHLINE_BIN" ]; then
    echo "skipped: $THROUGHLINE_BIN is not built (make proof builds it)"
    exit 77
fi
if ! ulimit -n 12000 2>/dev/null; then
    echo "skipped: this shell may not open 12,000 files (ulimit -n)"
    exit 77
fi
cd "$(dirname "$0")/../.."
. tests/support/server.sh
start_server log.segment_bytes=1048576 ingest.connections_max=10000
python3 - "${events#http://}" "$SERVER_KEY" "$server" <<'PYTHON' || fail "silent connections cost others"
import base64, socket, sys, time

(address, key, server), silent = sys.argv[1:], 9_900
host, port = address.split(":")
authorization = base64.b64encode(f"{key}:".encode()).decode()


def resident_kib():
    with open(f"/proc/{server}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def ask(number):
    body = f'{{"event":"E","userId":"u","messageId":"{number}"}}'
    began = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=10) as one:
        one.sendall(
            f"POST /v1/track HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic {authorization}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        answer = one.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return time.monotonic() - began


ask("first")
before, held = resident_kib(), []
for number in range(silent):
    one = socket.create_connection((host, int(port)), timeout=10)
    if number % 2:
        one.sendall(b"POST /v1/track HTTP/1.1\r\nHost: x\r\n")
    held.append(one)
slowest = max(ask(number) for number in range(50))
each = (resident_kib() - before) * 1024 // silent
print(f"{silent} silent connections: {each} bytes each in the server; the slowest of 50 requests took {slowest * 1000:.0f} ms")
assert each < 64 * 1024, "a silent connection takes too much memory"
assert slowest < 2, "others wait"
deadline = time.monotonic() + 90
for one in held:
    one.settimeout(max(0.1, deadline - time.monotonic()))
    try:
        while one.recv(4096):
            pass
    except ConnectionResetError:
        pass
print("all of them were cut off")
ask("last")
PYTHON
