#!/bin/sh
# Everything that is asked of a GPU, in order of value, into build/gpu/results.json: docs/gpu.md says what.
# PYTHON names the Python that has torch; arguments go to run.py (--minutes N, --only smoke, --rehearse, --list).
set -eu
cd "$(dirname "$0")/../.."
if [ -z "${PYTHON:-}" ]; then
    for candidate in .venv/bin/python python3 python; do
        if "$candidate" -c 'import torch' 2>/dev/null; then PYTHON=$candidate; break; fi
    done
fi
if [ -z "${PYTHON:-}" ]; then
    echo "expected a Python that has torch, got none (PYTHON=... names one)" >&2
    exit 1
fi
exec "$PYTHON" benchmarks/gpu/run.py "$@"
