#!/usr/bin/env bash
# The unmodified SDKs for browsers in a real Chromium, against a real server, from pages of another origin: every call, two
# tabs, pages that go away mid-send, refusals, a server that is killed, and somebody else's page.
set -euo pipefail

throughline=$(realpath "${THROUGHLINE_BIN:?name the binary}")
cd "$(dirname "$0")/../../clients/sdk"
if [ ! -d node_modules ]; then
    echo "SKIPPED: the SDKs are not installed: run make setup"
    exit 77
fi
timeout 175 node browser.mjs "$throughline"
