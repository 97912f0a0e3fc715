#!/usr/bin/env bash
# The three numbers of a real year, whole, day by day and campaign by campaign, counted again in SQL from what was sent.
# Then once more with a request left out, which must not go unnoticed.
set -euo pipefail
export PYTHONDONTWRITEBYTECODE=1
cd "$(dirname "$0")/../.."
throughline=${THROUGHLINE_BIN:-target/release/throughline}
shared=${THROUGHLINE_SHARED_DATA:-../shared/data}
if [ ! -x "$throughline" ]; then
  echo "skipped: $throughline is not built (make proof builds it)"
  exit 77
fi
if [ ! -d "$shared/completejourney" ]; then
  echo "SKIPPED: no $shared/completejourney: set THROUGHLINE_SHARED_DATA to prove the line on a real year"
  exit 77
fi
venv=target/line-year/venv
if ! { [ -x "$venv/bin/python" ] || python3 -m venv "$venv"; } ||
  ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
    --requirement clients/line-year/requirements.txt; then
  echo "SKIPPED: DuckDB cannot be installed, so nothing counts the line again"
  exit 77
fi
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
echo "proves: throughput, cycle time and scrap of a real year are what an independent recount says, every day"
"$throughline" demo --data "$data/demo" --data-from "$shared/completejourney" --exit --record "$data/record" \
  ${HOUSEHOLDS:+--households "$HOUSEHOLDS"}
"$venv/bin/python" clients/line-year/recount.py "$data/record"
mkdir "$data/without"
cp "$data/record/line.ndjson" "$data/without/"
# The first request behind the middle that shows an ad and has no order: the line counts nothing of what was only looked
# at, and an order without the word of the server is one that the recount refuses to count.
lines=$(wc -l <"$data/record/requests.ndjson")
awk -v middle="$((lines / 2))" 'NR > middle && !left && /"event":"Ad Impression"/ && !/Order Completed/ { left = 1; next } { print }' \
  "$data/record/requests.ndjson" >"$data/without/requests.ndjson"
if [ "$(wc -l <"$data/without/requests.ndjson")" -ne "$((lines - 1))" ]; then
  echo "no request could be left out"
  exit 1
fi
noticed=0
"$venv/bin/python" clients/line-year/recount.py "$data/without" >"$data/without.log" || noticed=$?
if [ "$noticed" -ne 3 ]; then
  cat "$data/without.log"
  echo "a request was left out and the recount did not say that something differs: it proves nothing"
  exit 1
fi
tail -n 1 "$data/without.log" | sed 's/^/with one request left out, which is noticed: /'
echo "line: the year held"
