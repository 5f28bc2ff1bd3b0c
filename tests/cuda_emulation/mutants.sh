# Mistakes in copies of CUDA sources, and the tests that must see them: what a run_mutants is made of (tests/cuda_engine).
# To be sourced by bash. Who does so has `source` (the folder whose files are changed, in copies), `list` (the file of mistakes), `work` (an empty
# folder) and two functions, and calls run_mutants [PATTERN]:
#   build DIR FILE        compiles what FILE of the copy DIR is in, and links it; fails where that cannot be done. FILE "": all, in $source
#   sees DIR FILE TESTS   runs the tests on it: prints what failed, or nothing. TESTS: the mistake's last field, which may be empty
# A mistake is a line
#   file|text, found once in it|what takes its place|what it is[|tests]
# with \n for a new line and \0174 for a single |; || is itself. Lines that begin with # are none.

# What kernels are compiled with so that every access is looked at (races.cpp), and that a misaligned one stops the program, as it does a GPU.
looked_at="-fsanitize=thread -fsanitize=alignment -fsanitize-undefined-trap-on-error"

# Runs a test program, as far as its first failure: true where it fails.
fails() { # log, program, its arguments
  local log=$1
  shift
  ! timeout 100 "$@" 2>&1 | sed -u '/\[  FAILED  \]/q' >"$log"
}

# What a test said before it failed, in a few words.
reason() { # log
  grep -aom1 -E 'CUDA emulation: .*|ERROR: .*|Segmentation fault|0x[0-9a-f]+ != .*|[a-z][a-z ,]*: element .*|Test failed.*|\[  ERROR   \] --- .*|.*Failure!' "$1" | cut -c1-90
}

one_mutant() { # line
  local file from to what tests dir text changed seen
  IFS='|' read -r file from to what tests <<<"$(printf '%s' "$1" | sed 's/||/\x01/g')"
  from=$(printf '%b' "${from//$'\x01'/||}") to=$(printf '%b' "${to//$'\x01'/||}")
  dir=$(mktemp -d "$work/XXXXXX")
  find "$source" -maxdepth 1 -name '*.[ch]' -o -maxdepth 1 -name '*.cu' | xargs cp -t "$dir"
  text=$(cat "$dir/$file"; echo .)
  changed=${text/"$from"/"$to"}
  if [ "$changed" = "$text" ] || [ "${text#*"$from"}" != "${text##*"$from"}" ]; then
    echo "BAD     $file: this text is not there once: $what"
    return
  fi
  printf '%s' "${changed%.}" >"$dir/$file"
  if ! build "$dir" "$file" >"$dir/log" 2>&1; then
    echo "BAD     $file: does not compile: $what ($(grep -m1 error "$dir/log"))"
    return
  fi
  seen=$(sees "$dir" "$file" "$tests")
  if [ -n "$seen" ]; then echo "seen    $file: $what ($seen)"; else echo "UNSEEN  $file: $what"; fi
  rm -rf "$dir"
}

run_mutants() { # [pattern: only mistakes whose line has this text]
  local total seen unmade right
  build "$work" "" || { echo "the sources do not compile"; return 1; }
  grep -v '^#' "$list" | grep -F -- "${1:-}" >"$work/list" || { echo "no mistake has '$1' in it"; return 1; }
  export -f one_mutant fails reason build sees
  export source work looked_at
  (sees "$work" "" "" >"$work/unmade") & # beside them, for it takes longest
  right=$!
  tr '\n' '\0' <"$work/list" | xargs -0 -P "$(nproc)" -n 1 bash -c 'set -euo pipefail; one_mutant "$1"' _ | tee "$work/result"
  wait "$right" || { echo "the tests without a mistake could not be run"; return 1; }
  unmade=$(cat "$work/unmade")
  [ -z "$unmade" ] || { echo "without a mistake: $unmade"; grep -v "RUN\|OK" "$work/log"; return 1; }
  total=$(wc -l <"$work/list") seen=$(grep -c '^seen' "$work/result" || :)
  echo "$seen of $total mistakes were seen"
  [ "$seen" = "$total" ]
}
