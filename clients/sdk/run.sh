#!/usr/bin/env bash
# Runs the unmodified SDKs of Segment and RudderStack against the ingest door and compares what arrives.
# Installs what they need below this folder (node_modules, .venv). Quiet unless something fails.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)

# Installs once; again when the list of packages has changed.
if ! cmp -s package-lock.json node_modules/.installed; then
  echo "sdk: installing the npm packages"
  # Not `npm ci`: that insists on optional packages of every platform, and a mirror may lack some of them.
  timeout 600 npm install --no-save --ignore-scripts --no-audit --no-fund --silent
  cp package-lock.json node_modules/.installed
fi
if ! cmp -s requirements.txt .venv/.installed; then
  echo "sdk: installing the Python packages"
  python3 -m venv .venv
  timeout 600 .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
  cp requirements.txt .venv/.installed
fi
echo "sdk: building the recorder"
(cd "$root" && cargo build --quiet -p collect --example recorder)
target=${CARGO_TARGET_DIR:-$root/target}
timeout 600 node run.mjs "$target/debug/examples/recorder" .venv/bin/python
