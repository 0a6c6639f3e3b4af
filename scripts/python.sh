#!/bin/sh
# Runs a script with the first Python that is new enough. A name in PATH may be a shim without a Python behind it.
for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python3.14 python; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        exec "$candidate" "$@"
    fi
done
echo "SecureChat needs Python 3.11 or newer, and there is none in PATH: install one, or name it with PYTHON=/path/to/python3.11." >&2
exit 1
