#!/usr/bin/env bash
# Every property test of the workspace with many more cases than `make test` takes; a failure prints its seed and the
# smallest case. Tests that state their own number of cases keep it.
set -euo pipefail
cases=${PROPTEST_CASES:-20000}
if ! command -v cargo >/dev/null; then
  echo "skipped: there is no cargo to run the tests with"
  exit 77
fi
echo "proves: the rules, the codecs, the log and the store agree with their independent re-tellings, $cases cases each"
PROPTEST_CASES=$cases cargo test --release --locked \
  -p model -p eventlog -p store -p engine -p engage -p collect -p server --lib --tests -- --quiet
echo "properties: held with $cases cases each"
