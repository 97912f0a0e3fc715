#!/usr/bin/env bash
# The unmodified SDKs of Segment and RudderStack, for Node, browsers and Python, against the ingest door: what arrives
# must be exactly what they were told.
set -euo pipefail

recorder=${THROUGHLINE_BIN_FOLDER:?name the folder of the binaries}/examples/recorder
python=${THROUGHLINE_PYTHON:?name a Python that has the SDKs}
cd "$(dirname "$0")/../../clients/sdk"
if [ ! -d node_modules ] || [ ! -x "$python" ]; then
    echo "the SDKs are not installed: run make setup"
    exit 77
fi
exec timeout 170 node run.mjs "$recorder" "$python"
