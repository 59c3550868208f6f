# shellcheck shell=bash disable=SC2154
# Sourced by docker/run: the way without containers. Everything stays in .venv-run below the project.
# Needs `root`, say and stop.

venv=$root/.venv-run

# The newest Python that is supported and can make environments.
find_python() {
    local candidate
    for candidate in python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# The environment, made new where the project's dependencies changed.
prepare_private() {
    local stamp python
    stamp=$(cksum <"$root/pyproject.toml")
    if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then
        python=$(find_python) || stop "no Python 3.11 or later with venv here (Debian: apt-get install python3-venv)"
        say "installing into ${venv#"$root/"} with $("$python" --version), about a minute"
        rm -rf "$venv"
        "$python" -m venv "$venv"
        printf '*\n' >"$venv/.gitignore"
        (cd "$root" && PIP_CACHE_DIR=$venv/cache "$venv/bin/pip" install -qq --disable-pip-version-check \
            --editable '.[dev]') || stop "the packages could not be installed"
        printf '%s\n' "$stamp" >"$venv/stamp"
    fi
    export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
    cd "$root" || stop "$root cannot be entered"
}

# The same commands as in containers; what needs two containers is one machine's two processes, or is left out.
run_private() {
    local command=$1
    shift
    prepare_private
    case $command in
        demo) ratatoskr demo "$@" ;;
        lint) python docker/lint.py ;;
        shell) if [ $# -gt 0 ]; then "$@"; else "${SHELL:-bash}"; fi ;;
        tests)
            if [ $# -gt 0 ]; then
                python -m pytest "$@"
            else
                say "without containers: $(python --version) alone, no demo across a network, no tamper check"
                python docker/minutes.py --everything
            fi
            ;;
        *) stop "'$command' needs containers" ;;
    esac
}
