# shellcheck shell=bash
# Shared by the scripts of this folder (sourced, never run): where things are, and steps that say
# what they do while they do it and name their log when they fail.
#
# CONSILIUM_DEPS_DIR  where the pinned wheels and cached results lie (default ~/.cache/consilium)
# CONSILIUM_JOBS      compile jobs at a time (default: from cores and free memory)

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LOGS=$ROOT/build/logs
export CONSILIUM_DEPS_DIR=${CONSILIUM_DEPS_DIR:-$HOME/.cache/consilium}
# Nested scripts count from the start of the first one.
export CONSILIUM_STARTED=${CONSILIUM_STARTED:-$(date +%s)}

say() { printf '[%4d s] %s\n' "$(($(date +%s) - CONSILIUM_STARTED))" "$*"; }
warn() { say "warning: $*" >&2; }
die() {
  say "FAILED: $*" >&2
  exit 1
}

# The comment block at the top of the calling script is its --help.
print_help() { awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"; }

# Two lines of free memory arithmetic, because a file that includes LibTorch takes up to 1.7 GB to
# compile, and a machine that swaps or kills the compiler is slower than one job fewer.
compile_jobs() {
  if [[ -n ${CONSILIUM_JOBS:-} ]]; then
    echo "$CONSILIUM_JOBS"
    return
  fi
  local cores free_mb limit used
  cores=$(nproc)
  free_mb=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
  if [[ $limit != max ]]; then
    used=$(cat /sys/fs/cgroup/memory.current)
    limit=$(((limit - used) / 1048576))
    ((limit < free_mb)) && free_mb=$limit
  fi
  local by_memory=$((free_mb / 1700))
  ((by_memory < 1)) && by_memory=1
  echo $((cores < by_memory ? cores : by_memory))
}

# Shows the last line of a log: in place each second on a terminal, else a line every 15 s.
watch_log() {
  local log=$1 parent=$2 pause=15 line
  [[ -t 1 ]] && pause=1
  while kill -0 "$parent" 2>/dev/null; do
    # Not holding our stdout: a reader of it must not wait for the last sleep.
    sleep "$pause" >/dev/null 2>&1
    line=$(tail -c 2000 "$log" 2>/dev/null | tr '\r' '\n' | grep -v '^[[:space:]]*$' | tail -n 1 |
      cut -c 1-100) || true
    if [[ -t 1 ]]; then
      printf '\r\033[K         %s' "$line"
    else
      say "  ... ${line:-(no output yet)}"
    fi
  done
}

# What of a log helps most: from the first failing command of ninja, what ctest's first three
# failing tests said last, else its end.
show_failure() {
  local log=$1
  if grep -q '^FAILED: ' "$log"; then
    grep -n -A 40 '^FAILED: ' "$log" | cut -c 1-400 | head -n 60
  elif grep -q 'Test *#.*\*\*\*' "$log"; then
    awk '/^ *[0-9]+\/[0-9]+ +Test +#|^[0-9.]+% tests passed/ {
           for (i = 1; i <= kept; ++i) print said[(first + i - 1) % 25]
           kept = first = 0
           shown = /\*\*\*/ && failures++ < 3
           if (shown) print
           next
         }
         shown { if (kept == 25) { said[first] = $0; first = (first + 1) % 25 }
                 else said[kept++] = $0 }' "$log" | cut -c 1-400
    tail -n 12 "$log"
  else
    tail -n 40 "$log"
  fi
}

# step "what is being done" log-name command...: runs it with its output in build/logs/log-name.log.
step() {
  local title=$1 log=$LOGS/$2.log status=0 began watcher
  shift 2
  mkdir -p "$LOGS"
  : >"$log"
  say "$title"
  began=$(date +%s)
  watch_log "$log" $$ &
  watcher=$!
  # shellcheck disable=SC2064
  trap "kill $watcher 2>/dev/null || true" EXIT
  "$@" >>"$log" 2>&1 </dev/null || status=$?
  kill "$watcher" 2>/dev/null || true
  wait "$watcher" 2>/dev/null || true
  trap - EXIT
  [[ -t 1 ]] && printf '\r\033[K'
  if ((status != 0)); then
    show_failure "$log" >&2
    say "FAILED: $title (exit status $status)" >&2
    say "its log: $log" >&2
    exit 1
  fi
  local took=$(($(date +%s) - began))
  if ((took >= 2)); then say "  done in $took s"; fi
}

# configure PRESET: nothing to do when the folder is configured for the same dependencies; ninja
# itself runs CMake again when a CMakeLists.txt changed.
configure() {
  local preset=$1 folder=$ROOT/build/$1
  if [[ -f $folder/build.ninja ]] &&
    grep -qxF "CONSILIUM_DEPS_DIR:PATH=$CONSILIUM_DEPS_DIR" "$folder/CMakeCache.txt"; then
    return
  fi
  step "Configuring the $preset build (CMake)" "configure-$preset" \
    cmake -S "$ROOT" --preset "$preset" "-DCONSILIUM_DEPS_DIR:PATH=$CONSILIUM_DEPS_DIR"
}

# run_tests PRESET ctest-arguments...: ctest of a build folder, its output shown as it comes.
run_tests() {
  local preset=$1
  shift
  ctest --test-dir "$ROOT/build/$preset" --output-on-failure --parallel "$(nproc)" "$@"
}
