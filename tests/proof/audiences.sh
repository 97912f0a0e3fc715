#!/usr/bin/env bash
# Who was in which audience at the end of every week of a real year, and how often somebody came and went, counted again
# in SQL from what was sent. Then once more with a request left out, which must not go unnoticed.
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
  echo "SKIPPED: no $shared/completejourney: set THROUGHLINE_SHARED_DATA to prove audiences on a real year"
  exit 77
fi
venv=target/audience-year/venv
if ! { [ -x "$venv/bin/python" ] || python3 -m venv "$venv"; } ||
  ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
    --requirement clients/audience-year/requirements.txt; then
  echo "SKIPPED: DuckDB cannot be installed, so nothing counts the audiences again"
  exit 77
fi
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
echo "proves: audiences of a real year are what an independent recount says, every week, with every entry and exit"
"$throughline" demo --data "$data/demo" --data-from "$shared/completejourney" --exit --record "$data/record" \
  ${HOUSEHOLDS:+--households "$HOUSEHOLDS"}
"$venv/bin/python" clients/audience-year/recount.py "$data/record"
mkdir "$data/without"
cp "$data/record"/{definitions,members,tallies}.ndjson "$data/without/"
lines=$(wc -l <"$data/record/requests.ndjson")
sed "$((lines / 2))d" "$data/record/requests.ndjson" >"$data/without/requests.ndjson"
noticed=0
"$venv/bin/python" clients/audience-year/recount.py "$data/without" >"$data/without.log" || noticed=$?
if [ "$noticed" -ne 3 ]; then
  cat "$data/without.log"
  echo "a request was left out and the recount did not say that something differs: it proves nothing"
  exit 1
fi
tail -n 1 "$data/without.log" | sed 's/^/with one request left out, which is noticed: /'
echo "audiences: the year held"
