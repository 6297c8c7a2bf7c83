# Stages of a test run (sourced, bash): each is timed, a broken one does not stop the next, and the tally is the last line.

passed=0 failed=0 broken="" table=""

# count PASSED… FAILED…: adds two lists of numbers to the tally.
count() {
    local n
    counted=1
    for n in $1; do passed=$((passed + n)); done
    for n in $2; do failed=$((failed + n)); stage_failed=$((stage_failed + n)); done
}

# stage NAME COMMAND…: runs it here, in this shell, so that it may set variables.
stage() {
    local name="$1" began=$SECONDS verdict=ok
    shift
    counted="" stage_failed=0
    printf '\n== %s\n' "$name"
    if ! "$@"; then
        verdict=FAILED broken="$broken $name"
        # A stage that broke without a failed test to show for it is a failure of its own.
        [ "$stage_failed" = 0 ] && failed=$((failed + 1))
    fi
    table="$table$(printf '%-14s %5d s  %s' "$name" $((SECONDS - began)) "$verdict")"$'\n'
}

finish() {
    printf '\n%s' "$table"
    [ -n "$broken" ] && printf 'failed:%s\n' "$broken"
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ -z "$broken" ] && [ "$failed" = 0 ]
    exit
}
