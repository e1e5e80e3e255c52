#!/usr/bin/env bash
# Builds the fuzz targets of tests/fuzz with coverage and drives each with libFuzzer for SECONDS (30), or only those
# that are named: deploy/tools/fuzz.sh [SECONDS [TARGET..]]. What is found new is kept in target/fuzz; an input that
# breaks a rule is named at the end, and the exit code is 1 then.
#
# These are the flags of `cargo fuzz run --sanitizer none`, which the stable compiler knows, too. There is no address
# sanitizer: it needs another compiler, and there is no unsafe code of ours to look for.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds=${1:-30}
shift || true
fuzz=$root/tests/fuzz
out=$root/target/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
# libFuzzer is written in C++.
have c++ || apt_install g++ || die "a C++ compiler is missing; on Debian or Ubuntu: apt-get install g++"

flags="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS=$flags cargo build --release --locked --manifest-path "$fuzz/Cargo.toml" --target "$host" --target-dir "$out/build" >&2

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cd "$fuzz/corpus" && printf '%s\n' *)
failed=0
summary=
for target in "${targets[@]}"; do
  mkdir -p "$out/corpus/$target" "$out/findings/$target"
  printf '\n== %s, %s s\n' "$target" "$seconds"
  log=$out/$target.log
  status=0
  "$out/build/$host/release/$target" "$out/corpus/$target" "$fuzz/corpus/$target" \
    -max_total_time="$seconds" -max_len=16384 -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
    -artifact_prefix="$out/findings/$target/" >"$log" 2>&1 || status=$?
  tail -n 12 "$log"
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  line="$target: ${runs:-no} executions, ${covered:-0} edges"
  if [ "$status" -ne 0 ]; then
    failed=1
    line+=", a FINDING: see $log"
  fi
  summary+="$line"$'\n'
done
printf '\n%s' "$summary"
exit "$failed"
