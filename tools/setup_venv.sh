#!/bin/sh
# Sets up .venv, or leaves it alone when it is right. Usage: tools/setup_venv.sh runtime|dev [PYTHON]
# Needs a Python 3.11 to 3.13 with venv, nothing else: every package is a wheel or pure Python.
set -eu
cd "$(dirname "$0")/.."
kind=$1
named=${2:-}
venv=.venv

# Prints why a Python can't be used, nothing if it can. Any Python can run this, so that an old one is named too.
unfit='import sys
try:
    import ensurepip, venv
except ImportError:
    sys.exit("is Python %d.%d.%d without venv (on Debian: apt install python3-venv)" % sys.version_info[:3])
finally:
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        sys.exit("is Python %d.%d.%d" % sys.version_info[:3])'

why_unfit() {
    if ! command -v "$1" >/dev/null 2>&1; then
        echo "is not there"
    elif ! reason=$("$1" -c "$unfit" 2>&1); then
        echo "${reason:-does not run}" | head -n 1
    fi
}

refuse() {
    echo "zlay_py needs Python 3.11, 3.12 or 3.13 with venv: $1; name another with: make PYTHON=/path/to/python3.12 ..." >&2
    exit 1
}

choose_python() {
    if [ -n "$named" ]; then
        reason=$(why_unfit "$named")
        [ -z "$reason" ] || refuse "$named $reason"
        echo "$named"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11; do
        if [ -z "$(why_unfit "$candidate")" ]; then
            echo "$candidate"
            return
        fi
    done
    refuse "python3 $(why_unfit python3)"
}

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# A .venv counts when its Python fits, has pip, and is of the version that was named (if one was).
usable() {
    [ -x $venv/bin/python ] && [ -z "$(why_unfit $venv/bin/python)" ] && $venv/bin/python -m pip --version >/dev/null 2>&1
}

# The stamp is the text that was installed from: it is right or wrong whatever a checkout does to the files' dates.
if [ "$kind" = dev ]; then wanted="requirements.txt requirements-dev.txt"; else wanted=requirements.txt; fi
stamped() {
    # shellcheck disable=SC2086  # two file names
    cat $wanted pyproject.toml | cmp -s - $venv/.installed-"$kind"
}

if [ -n "$named" ]; then
    python=$(choose_python) || exit 1
    if usable && [ "$(version $venv/bin/python)" != "$(version "$python")" ]; then
        rm -rf $venv
    fi
fi
# Cheap when nothing is to do: `make run` must not wait for pip.
if [ -x $venv/bin/python ] && stamped && [ -z "$(why_unfit $venv/bin/python)" ]; then
    exit 0
fi
if ! usable; then
    python=$(choose_python) || exit 1
    echo "setting up $venv with $python ($(version "$python"))"
    rm -rf $venv
    "$python" -m venv $venv
fi
echo "installing packages into $venv ($kind); this takes a minute or two"
pip="$venv/bin/python -m pip --disable-pip-version-check --quiet"
requirements=requirements.txt
[ "$kind" = runtime ] || requirements=requirements-dev.txt
$pip install --only-binary :all: --no-binary psycogreen -r $requirements
$pip install --no-deps --editable .
# shellcheck disable=SC2086  # two file names
cat $wanted pyproject.toml >$venv/.installed-"$kind"
