#!/usr/bin/env bash
# The reference follower is the server's own state after kill -9 of either side, lost feed files and erasures, under
# load, again and again.
set -euo pipefail
throughline=${THROUGHLINE_BIN:-target/release/throughline}
if [ ! -x "$throughline" ]; then
  echo "skipped: $throughline is not built (make proof builds it)"
  exit 77
fi
cd "$(dirname "$0")/../.."
echo "proves: a follower in another process, from snapshot and feed alone, keeps exactly what the server's tables hold"
python3 clients/follower/check.py "$(realpath "$throughline")" --rounds "${ROUNDS:-60}" --seed "${SEED:-1}"
echo "feed: ${ROUNDS:-60} rounds survived"
