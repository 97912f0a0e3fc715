# For proofs that record a real year with `throughline demo` and have DuckDB count it again. Source it from the root of the
# repository; then call prepare_recount, record_year, and after leaving something out notice_the_gap.

export PYTHONDONTWRITEBYTECODE=1
throughline=${THROUGHLINE_BIN:-target/release/throughline}
shared=${THROUGHLINE_SHARED_DATA:-../shared/data}

# Takes the client's folder under clients/ and what it proves, for the messages. Ends with 77 where something is missing.
prepare_recount() {
  client=$1
  if [ ! -x "$throughline" ]; then
    echo "skipped: $throughline is not built (make proof builds it)"
    exit 77
  fi
  if [ ! -d "$shared/completejourney" ]; then
    echo "SKIPPED: no $shared/completejourney: set THROUGHLINE_SHARED_DATA to prove $2 on a real year"
    exit 77
  fi
  venv=target/$client/venv
  if ! { [ -x "$venv/bin/python" ] || python3 -m venv "$venv"; } ||
    ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
      --requirement "clients/$client/requirements.txt"; then
    echo "SKIPPED: DuckDB cannot be installed, so nothing counts $2 again"
    exit 77
  fi
  data=$(mktemp -d)
  trap 'rm -rf "$data"' EXIT
}

# Records the year into $data/record, counts it again, and prepares $data/without; $lines is how many requests there are.
record_year() {
  "$throughline" demo --data "$data/demo" --data-from "$shared/completejourney" --exit --record "$data/record" \
    ${HOUSEHOLDS:+--households "$HOUSEHOLDS"}
  "$venv/bin/python" "clients/$client/recount.py" "$data/record"
  mkdir "$data/without"
  lines=$(wc -l <"$data/record/requests.ndjson")
}

# Counts $data/without, in which a request is missing, and fails unless that is noticed.
notice_the_gap() {
  if [ "$(wc -l <"$data/without/requests.ndjson")" -ne "$((lines - 1))" ]; then
    echo "no request could be left out"
    exit 1
  fi
  local noticed=0
  "$venv/bin/python" "clients/$client/recount.py" "$data/without" >"$data/without.log" || noticed=$?
  if [ "$noticed" -ne 3 ]; then
    cat "$data/without.log"
    echo "a request was left out and the recount did not say that something differs: it proves nothing"
    exit 1
  fi
  tail -n 1 "$data/without.log" | sed 's/^/with one request left out, which is noticed: /'
}
