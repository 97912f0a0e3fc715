#!/usr/bin/env bash
# 100,000 seeded lives of a shard: crashes at any write, torn tails, failed syncs, full disks, clock steps, repeated and
# reordered requests, a record that panics; and customers with destinations that hang, lie or go away. Promises 1-5, 8, 10 and
# 11 hold in each, or the seed is printed, made small (docs/simulation.md).
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
