# Sourced by the other scripts. Sets `root` and `venv`; `environment [EXTRA]` creates or updates the virtual environment.
set -euo pipefail

root=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
venv=$root/.venv

find_python() {
    local name names="python3.11 python3.12 python3.13 python3.14 python3"
    for name in $names; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "error: Python 3.11 or newer with its venv module is needed; none of these has both: $names." >&2
    echo "Install one (Debian: apt-get install python3.11 python3.11-venv) and run this again." >&2
    return 1
}

environment() (
    cd "$root"
    extra=${1:-}
    stamp=$venv/installed-${extra:-core}
    # `python -m venv` installs pip last: without pip the environment is incomplete.
    if [ ! -x "$venv/bin/pip" ]; then
        python=$(find_python)
        "$python" -m venv --clear "$venv"
    fi
    checksum=$(cat pyproject.toml constraints.txt | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$checksum" ]; then
        return
    fi
    echo "Installing into $venv (the first time takes minutes and 6 GB, most of it torch) ..." >&2
    pip() { "$venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
    gpu=no
    if pip show faiss-gpu >/dev/null 2>&1; then gpu=yes; fi
    pip install --constraint constraints.txt --editable ".${extra:+[$extra]}"
    if [ "$gpu" = yes ]; then # keep faiss-gpu in an environment where it replaced faiss-cpu
        pip uninstall --yes faiss-cpu faiss-gpu
        pip install faiss-gpu
    fi
    echo "$checksum" >"$stamp"
)
