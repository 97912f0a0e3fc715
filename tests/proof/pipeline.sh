#!/usr/bin/env bash
# The whole path at full length: five minutes a phase, 50 million message ids prefilled, 10 % cold people, checkpoints
# and sealing on; then kill -9 and recovery. Goals that are missed are shown; lost events fail.
set -euo pipefail
throughline=${THROUGHLINE_BIN:-target/release/throughline}
if [ ! -x "$throughline" ]; then
  echo "skipped: $throughline is not built (make proof builds it)"
  exit 77
fi
echo "proves: rates, processor time, latencies, memory, disk and recovery against benches/goals.toml"
"$throughline" bench pipeline --seconds "${SECONDS_PER_PHASE:-300}"
echo "pipeline: measured from end to end, nothing lost"
