#!/usr/bin/env bash
# 200 buyers at once for 37 units over the real door, with payments that are declined, slow or lost on the way, and kill -9 of
# the process at random moments: exactly 37 are sold, and order numbers have no gap. ROUNDS times (5 if left out).
set -euo pipefail
cd "$(dirname "$0")/../.."
throughline=$(realpath "${THROUGHLINE_BIN:-target/release/throughline}")
if [ ! -x "$throughline" ]; then
  echo "skipped: $throughline is not built (make proof builds it)"
  exit 77
fi
echo "proves: never more than 37 of 37, and all of them while buyers who pay remain, over kill -9"
for round in $(seq 1 "${ROUNDS:-5}"); do
  python3 clients/shop/check.py "$throughline" --buyers 200 --units 37 --kills 5 --seed "$((${SEED:-0} + round))"
done
echo "shop: ${ROUNDS:-5} rounds, exactly 37 of 37 in each"
