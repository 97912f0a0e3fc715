#!/usr/bin/env bash
# One real year of shopping through the real doors, every profile held against the data, and the replay proof.
set -euo pipefail
throughline=${THROUGHLINE_BIN:-target/release/throughline}
if [ ! -x "$throughline" ]; then
  echo "skipped: $throughline is not built (make proof builds it)"
  exit 77
fi
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
echo "proves: a real year gives the profiles and suppressions that the data says, and replays to the same bytes"
"$throughline" demo --data "$data/demo" --exit --json "$data/demo.json"
echo "demo: the year held"
