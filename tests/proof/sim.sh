#!/usr/bin/env bash
# 100,000 seeded lives of a shard: crashes at any write, torn tails, failed syncs, full disks, clock steps, repeated and
# reordered requests, a record that panics. Promises 1-4 and 10 hold in each, or the seed is printed, made small. Lives with
# destinations are not among them yet: docs/simulation.md says how to run them and what they still find.
set -euo pipefail
seeds=${SEEDS:-100000}
simulator=${THROUGHLINE_BIN_FOLDER:-target/release}/sim
if [ ! -x "$simulator" ]; then
  echo "skipped: $simulator is not built (make proof builds it)"
  exit 77
fi
echo "proves: nothing acknowledged is lost, messages count once, replay is exact, over $seeds seeds"
"$simulator" "$seeds"
echo "sim: $seeds seeds held"
