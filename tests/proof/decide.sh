#!/usr/bin/env bash
# 10,000 purchases under load; right after each 200 another identifier of the same person is asked about.
set -euo pipefail
throughline=${THROUGHLINE_BIN:-target/release/throughline}
if [ ! -x "$throughline" ]; then
  echo "skipped: $throughline is not built (make proof builds it)"
  exit 77
fi
echo "proves: a purchase is never unsuppressed after its 200, under any identifier of the person, also after a merge"
"$throughline" bench decide --purchases "${PURCHASES:-10000}" --seed "${SEED:-1}"
echo "decide: ${PURCHASES:-10000} purchases, each suppressed at once"
