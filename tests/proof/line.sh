#!/usr/bin/env bash
# The three numbers of a real year, whole, day by day and campaign by campaign, counted again in SQL from what was sent.
# Then once more with a request left out, which must not go unnoticed.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/recount.sh
prepare_recount line-year "the line"
echo "proves: throughput, cycle time and scrap of a real year are what an independent recount says, every day"
record_year
cp "$data/record/line.ndjson" "$data/without/"
# The first request behind the middle that shows an ad and has no order: the line counts nothing of what was only looked
# at, and an order without the word of the server is one that the recount refuses to count.
awk -v middle="$((lines / 2))" 'NR > middle && !left && /"event":"Ad Impression"/ && !/Order Completed/ { left = 1; next } { print }' \
  "$data/record/requests.ndjson" >"$data/without/requests.ndjson"
notice_the_gap
echo "line: the year held"
