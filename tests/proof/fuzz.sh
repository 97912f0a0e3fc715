#!/usr/bin/env bash
# Everything that reads bytes from outside, searched by libFuzzer guided by coverage: FUZZ_SECONDS a target (600 if left out).
# The toolchain is the stable one: coverage is counted by an LLVM pass that it carries.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in cargo c++; do
  if ! command -v "$tool" >/dev/null; then
    echo "skipped: there is no $tool to build the search with"
    exit 77
  fi
done
seconds=${FUZZ_SECONDS:-600}
folder=${FUZZ_FOLDER:-target/fuzz-corpus}
host=$(rustc -vV | sed -n 's/^host: //p')
echo "proves: whatever bytes come in, they are refused in words or understood, and damage is noticed ($seconds s a target)"
# Build scripts and macros are left alone, because a target is named.
counted="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
counted="$counted -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
counted="$counted -Ccodegen-units=1 -Cdebug-assertions=on -Coverflow-checks=on --cfg fuzzing"
# Only the one that has libFuzzer in it can be linked with the counters.
cargo build --release --locked -p fuzz --bin fuzz --target-dir target/fuzz
RUSTFLAGS="$counted" CARGO_INCREMENTAL=0 cargo build --release --locked -p fuzz --bin fuzz-guided \
  --features guided --target "$host" --target-dir target/fuzz
binaries=target/fuzz/binaries
mkdir -p "$binaries"
cp target/fuzz/release/fuzz "target/fuzz/$host/release/fuzz-guided" "$binaries/"
mkdir -p "$folder" target/fuzz/findings
"$binaries/fuzz" seeds "$folder"
for target in $("$binaries/fuzz" list | cut -d' ' -f1); do
  known=crates/fuzz/corpus/$target
  [ -d "$known" ] && cp -n "$known"/* "$folder/$target/" 2>/dev/null || true
  echo "== $target"
  if ! FUZZ_TARGET=$target "$binaries/fuzz-guided" "$folder/$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
    -rss_limit_mb=2048 -dict="$folder/$target.words" -artifact_prefix="target/fuzz/findings/$target-" \
    -print_final_stats=1 >"target/fuzz/$target.log" 2>&1; then
    tail -n 30 "target/fuzz/$target.log"
    echo "$target: a promise does not hold; the input is in target/fuzz/findings: put it into crates/fuzz/corpus/$target"
    exit 1
  fi
  grep -E "number_of_executed_units|new_units_added|peak_rss_mb" "target/fuzz/$target.log" | sed 's/^/   /'
  grep -E "cov: " "target/fuzz/$target.log" | sed -n '1p;$p' | sed 's/^/   /'
done
echo "fuzz: $seconds s a target, nothing found"
