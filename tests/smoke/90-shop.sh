#!/usr/bin/env bash
# The shop alone: one walk through every page of the checkout, and many buyers for few units over kill -9.
set -euo pipefail
cd "$(dirname "$0")/../.."
throughline=$(realpath "${THROUGHLINE_BIN:-target/debug/throughline}")
if [ ! -x "$throughline" ]; then
  echo "skipped: $throughline is not built (make smoke builds it)"
  exit 77
fi
timeout 150 python3 clients/shop/check.py "$throughline" --buyers 40 --units 7 --kills 2 --seed "${SEED:-1}"
