# shellcheck shell=bash disable=SC2034,SC2154
# Sourced by docker/run: finds a container engine with Compose, makes base images, builds the project's images.
# Sets `engine`, `compose_command`, `why_no_engine`. Needs `root`, `image`, `project`, `scratch`, `child`, say, stop and wait_for_child.

# within SECONDS COMMAND...: the command, given up after so many seconds where the machine has `timeout`.
within() {
    local seconds=$1
    shift
    if command -v timeout >/dev/null; then timeout "$seconds" "$@"; else "$@"; fi
}

# Compose for the engine: the first command that really reaches it with our file.
find_compose() {
    local candidate
    for candidate in "$engine compose" "$engine-compose"; do
        read -ra compose_command <<<"$candidate"
        if within 30 "${compose_command[@]}" -p "$project" -f "$root/docker/compose.yaml" ps >/dev/null 2>&1; then
            return 0
        fi
    done
    return 1
}

# True with `engine` and `compose_command` set, or false with `why_no_engine` saying what is missing.
find_engine() {
    local wanted=${RATATOSKR_ENGINE:-docker podman} candidate
    why_no_engine="neither docker nor podman is installed"
    [ "$wanted" = none ] && why_no_engine="RATATOSKR_ENGINE is none" && return 1
    for candidate in $wanted; do
        command -v "$candidate" >/dev/null || continue
        if ! within 10 "$candidate" info >"$scratch/info" 2>&1; then
            why_no_engine="$candidate is installed and does not answer: $(tail -n 1 "$scratch/info")"
            continue
        fi
        engine=$candidate
        if find_compose; then
            why_no_engine=
            return 0
        fi
        why_no_engine="$candidate answers, but there is no Compose for it (install docker-compose or podman-compose)"
    done
    return 1
}

# pull IMAGE: a registry gets 15 s to answer, and then as long as the download takes.
pull() {
    local log=$scratch/pull tries
    "$engine" pull "$1" >"$log" 2>&1 &
    child=$!
    for tries in $(seq 75); do
        kill -0 "$child" 2>/dev/null || break
        grep -qE 'Pulling from|Getting image|Copying|Status:' "$log" && break
        sleep 0.2
    done
    if [ "$tries" = 75 ]; then
        kill "$child" 2>/dev/null || true
    fi
    wait_for_child
}

# bootstrap SUITE IMAGE: an image with Python, from Debian's packages: mirror of the machine second, default first.
bootstrap() {
    local tar=$scratch/$1.tar mirror
    # shellcheck disable=SC2054 # commas are mmdebstrap's own
    local make=(mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates "$1" "$tar")
    if ! "${make[@]}" 2>"$scratch/bootstrap"; then
        # shellcheck disable=SC2016 # apt-get's own variable
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Label: Debian' 2>/dev/null | head -n 1)
        if [ -z "$mirror" ] || ! "${make[@]}" "$mirror" 2>>"$scratch/bootstrap"; then
            tail -n 20 "$scratch/bootstrap" >&2
            return 1
        fi
    fi
    "$engine" import "$tar" "$2" >/dev/null && rm -f "$tar"
}

# find_base PYTHON SUITE: sets `base` to an image with that Python. False, with the reason said, where none can be had.
find_base() {
    local official=python:$1-slim own=ratatoskr-base:$2 candidate
    for candidate in "$own" "$official"; do
        base=$candidate
        "$engine" image inspect "$base" >/dev/null 2>&1 && return 0
    done
    say "asking the image registry for $official"
    if pull "$official"; then
        base=$official
        return 0
    fi
    base=$own
    if ! command -v mmdebstrap >/dev/null; then
        say "no image registry answers; without one the base image is made by mmdebstrap, which is not installed"
        say "(on Debian and Ubuntu: apt-get install mmdebstrap uidmap)"
        return 1
    fi
    say "no image registry answers; building the base image for Python $1 from Debian packages, about 20 s"
    if ! bootstrap "$2" "$own"; then
        say "mmdebstrap could not make the base image; without root it needs the package uidmap"
        return 1
    fi
}

# pip_setting NAME: what this machine tells pip, by its environment or its configuration files.
pip_setting() {
    local variable
    variable=PIP_$(printf %s "$1" | tr 'a-z-' 'A-Z_')
    if [ -n "${!variable:-}" ]; then
        printf '%s\n' "${!variable}"
    else
        cat /etc/pip.conf ~/.pip/pip.conf ~/.config/pip/pip.conf "${PIP_CONFIG_FILE:-/dev/null}" 2>/dev/null |
            sed -n "s/^$1 *= *//p" | tail -n 1 || true # most machines have none or one of them
    fi
}

# What builds need on this machine to reach the package indexes: build arguments, and the authorities in docker/local.
collect_pip_settings() {
    local name value authorities
    pip_arguments=()
    for name in index-url extra-index-url trusted-host default-timeout; do
        value=$(pip_setting "$name")
        case $value in
            '' | *file:*) ;;
            *) pip_arguments+=(--build-arg "PIP_$(printf %s "$name" | tr 'a-z-' 'A-Z_')=$value") ;;
        esac
    done
    value=${NPM_CONFIG_REGISTRY:-$(npm config get registry 2>/dev/null || true)}
    [ -z "$value" ] || pip_arguments+=(--build-arg "NPM_CONFIG_REGISTRY=$value")
    authorities=$(pip_setting cert)
    authorities=${authorities:-${SSL_CERT_FILE:-}}
    if [ -f "$authorities" ] && ! cmp -s "$authorities" "$root/docker/local/ca.crt"; then
        cp "$authorities" "$root/docker/local/ca.crt"
    fi
}

# build TARGET TAG: builds on `base`. Quick where nothing changed; shows the log only where it fails.
build() {
    local before after
    before=$("$engine" image inspect --format '{{.Id}}' "$image:$2" 2>/dev/null) || before=
    [ -n "$before" ] || say "building the image $2; the first time takes about a minute"
    if ! "$engine" build --network=host --target "$1" --tag "$image:$2" --file "$root/docker/Dockerfile" \
        ${no_cache[@]+"${no_cache[@]}"} --build-arg "BASE_IMAGE=$base" ${pip_arguments[@]+"${pip_arguments[@]}"} \
        "$root" >"$scratch/build" 2>&1; then
        tail -n 40 "$scratch/build" >&2
        stop "the image $2 could not be built"
    fi
    after=$("$engine" image inspect --format '{{.Id}}' "$image:$2")
    if [ -n "$before" ] && [ "$before" != "$after" ]; then
        "$engine" rmi "$before" >/dev/null 2>&1 || true # its own layers only; a run still using it keeps it
    fi
    # Every edit leaves a stage behind with the classic builder; those of other days are of no use as a cache.
    "$engine" image prune --force --filter label=ratatoskr.stage=passing --filter until=24h >/dev/null 2>&1 || true
}
