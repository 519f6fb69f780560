#!/bin/sh
# Run the tests of the C extension with its memory and arithmetic checked by ASan and UBSan (make native-sanitize).
# Python itself is not instrumented, so it is told to use malloc, and what it leaks at exit is not looked at.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
runtime=$(${CC:-cc} -print-file-name=libasan.so)
if [ "$runtime" = libasan.so ]; then
    echo "native-sanitize: SKIPPED, nothing checked: ${CC:-cc} has no libasan" >&2
    exit 0
fi
trap '$python hatch_build.py >/dev/null' EXIT
$python hatch_build.py -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LD_PRELOAD="$runtime $(${CC:-cc} -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 \
    PYTHONMALLOC=malloc $python -m pytest -q --capture=sys -p no:cacheprovider tests/client/wire/native \
    tests/client/wire/test_live_tls.py "$@"
