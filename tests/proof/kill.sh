#!/usr/bin/env bash
# The server is killed (kill -9) under load 20 times. After each restart every person's events, orders and revenue are
# what was acknowledged; after everything was sent again they are exact; effects keep their ids and content.
set -euo pipefail
throughline=${THROUGHLINE_BIN:-target/release/throughline}
if [ ! -x "$throughline" ]; then
  echo "skipped: $throughline is not built (make proof builds it)"
  exit 77
fi
echo "proves: nothing acknowledged is lost, nothing counts twice, effects are unique and unchanged, over kill -9"
"$throughline" bench kill --rounds "${ROUNDS:-20}" --seed "${SEED:-1}"
echo "kill: ${ROUNDS:-20} kills survived"
