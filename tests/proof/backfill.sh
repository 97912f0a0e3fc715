#!/usr/bin/env bash
# 20 audiences are defined over PEOPLE people while 20,000 events a second arrive, and the server is killed (kill -9) while
# people are gone through for them. In the end each is what its twin is that was there from the beginning, POSTs were
# answered as fast as before (p99 within 1.5 times), and the log gives the same state again.
set -euo pipefail
throughline=${THROUGHLINE_BIN:-target/release/throughline}
if [ ! -x "$throughline" ]; then
  echo "skipped: $throughline is not built (make proof builds it)"
  exit 77
fi
echo "proves: an audience that is defined late is what it would be had it been there always, over kill -9, under load"
"$throughline" bench backfill --people "${PEOPLE:-2000000}" --seconds "${SECONDS_BEFORE:-60}" --seed "${SEED:-1}"
echo "backfill: 20 audiences over ${PEOPLE:-2000000} people are those defined from the beginning"
