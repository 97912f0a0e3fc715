#!/usr/bin/env bash
# The reference follower is the server's own state after kill -9 of either side, lost feed files and erasures, under
# load, again and again. Then a destination that is dead for ten minutes (DELIVERY_OUTAGE_SECONDS) among five.
set -euo pipefail
throughline=${THROUGHLINE_BIN:-target/release/throughline}
if [ ! -x "$throughline" ]; then
  echo "skipped: $throughline is not built (make proof builds it)"
  exit 77
fi
cd "$(dirname "$0")/../.."
echo "proves: a follower in another process, from snapshot and feed alone, keeps exactly what the server's tables hold"
python3 clients/follower/check.py "$(realpath "$throughline")" --rounds "${ROUNDS:-60}" --seed "${SEED:-1}"
if ! command -v cargo >/dev/null; then
  echo "feed: ${ROUNDS:-60} rounds survived; the outage of a destination was left out, there is no cargo to run it with"
  exit 0
fi
export DELIVERY_OUTAGE_SECONDS=${DELIVERY_OUTAGE_SECONDS:-600}
echo "proves: a destination that is dead for $DELIVERY_OUTAGE_SECONDS s delays no other, and gets everything in the end"
cargo test --release --locked -p outbound --test outbound -- --nocapture \
  delivery_runs::a_dead_destination_among_five_delays_only_itself_and_gets_everything_in_the_end
echo "feed: ${ROUNDS:-60} rounds and an outage of $DELIVERY_OUTAGE_SECONDS s survived"
