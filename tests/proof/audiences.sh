#!/usr/bin/env bash
# Who was in which audience at the end of every week of a real year, and how often somebody came and went, counted again
# in SQL from what was sent. Then once more with a request left out, which must not go unnoticed.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/recount.sh
prepare_recount audience-year audiences
echo "proves: audiences of a real year are what an independent recount says, every week, with every entry and exit"
record_year
cp "$data/record"/{definitions,members,tallies}.ndjson "$data/without/"
sed "$((lines / 2))d" "$data/record/requests.ndjson" >"$data/without/requests.ndjson"
notice_the_gap
echo "audiences: the year held"
