#!/usr/bin/env bash
# The unmodified SDKs for Node and Python against a real server that refuses (429, 503), whose answers get lost, and that
# is killed half through a request and started again: it must count every message, once.
set -euo pipefail

throughline=$(realpath "${THROUGHLINE_BIN:?name the binary}")
python=${THROUGHLINE_PYTHON:?name a Python that has the SDKs}
cd "$(dirname "$0")/../../clients/sdk"
if [ ! -d node_modules ] || [ ! -x "$python" ]; then
    echo "SKIPPED: the SDKs are not installed: run make setup"
    exit 77
fi
timeout 170 node retries.mjs "$throughline" "$python"
