# SPDX-License-Identifier: MIT
#
# tap.sh -- for test scripts to source: queue named jobs, run them on all processors, print TAP.
#
#     . tools/tap.sh                            from the project's root
#     job 'a sentence' header=retry.h <<'END'   the job's variables, then its text: sh -eu, which
#     cc -c "$root/$header"                     holds when it ends with 0
#     END
#     finish                                    runs the jobs, prints a line for each, exits
#
# Each job runs by itself in an empty folder; $root is the project; $scratch is a folder for all of
# them, gone at the end, and $scratch/kit.sh, if a script writes it, is read by each job first.
# What a job prints is shown when it fails.
set -eu

root=$(pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/resilience.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
jobs_at_once=${JOBS:-$(nproc 2>/dev/null || echo 2)}
jobs_queued=0
mkdir "$scratch/jobs"
: > "$scratch/kit.sh"
export root scratch

# Whether programs of 32 bits run here, which not every 64-bit kernel lets them.
runs_32() {
    echo 'int main(void) { return 0; }' | gcc -m32 -x c -o "$scratch/runs_32" - 2> /dev/null &&
        "$scratch/runs_32" 2> /dev/null
}

job() {
    jobs_queued=$((jobs_queued + 1))
    place=$(printf '%s/jobs/%04d' "$scratch" $jobs_queued)
    mkdir "$place"
    printf '%s\n' "$1" > "$place.name"
    shift
    {
        echo 'set -eu'
        for variable; do printf "%s='%s'\n" "${variable%%=*}" "${variable#*=}"; done
        echo '. "$scratch/kit.sh"'
        cat
    } > "$place.sh"
}

finish() {
    printf '1..%d\n' $jobs_queued
    find "$scratch/jobs" -name '*.sh' | sort | xargs -P "$jobs_at_once" -n 1 sh -c '
        place=${1%.sh}
        cd "$place"
        if sh "$place.sh" > "$place.out" 2>&1 < /dev/null; then : > "$place.ok"; fi' job
    failed=0
    for named in "$scratch"/jobs/*.name; do
        place=${named%.name}
        number=$(expr "${place##*/}" + 0)
        if [ -e "$place.ok" ]; then
            printf 'ok %d - %s\n' "$number" "$(cat "$named")"
        else
            failed=$((failed + 1))
            printf 'not ok %d - %s\n' "$number" "$(cat "$named")"
            sed 's/^/#   /' "$place.out"
        fi
    done
    [ $failed -eq 0 ]
    exit
}
