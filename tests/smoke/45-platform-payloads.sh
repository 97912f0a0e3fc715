#!/usr/bin/env bash
# What the platforms' own libraries make of a person's data must be what Throughline's tests are held against, and
# Throughline's payloads must be what those libraries would send, or can read.
set -euo pipefail

python=${THROUGHLINE_PYTHON:?name a Python that has the libraries}
cd "$(dirname "$0")/../../clients/platform-payloads"
if ! "$python" -c 'import facebook_business, google.ads.datamanager_util, google.ads.datamanager_v1' 2>/dev/null; then
    echo "the platforms' libraries are not installed: run make setup"
    exit 77
fi
"$python" oracle.py | diff -u expected.jsonl - || {
    echo "the libraries say something else than expected.jsonl: look at the difference, then write the file anew"
    exit 1
}
echo "$(wc -l <expected.jsonl) values are as the libraries make them"
"$python" check.py payloads.json
