#!/usr/bin/env bash
# Makes this machine a ctxnode node from a checkout: build, install, replica, daemon, self-check.
# Every step looks at what is there and does only what is missing, so a second run changes nothing and a run that failed
# goes on where it stopped. Works with the bash 3.2 of macOS.
set -u

usage() {
    cat <<'TEXT'
Usage: ./bootstrap.sh [--check | --dry-run] [--no-service] [--no-path]

  --check       say what is in place and what is missing; change nothing
  --dry-run     say what a run would do; change nothing
  --no-service  leave the daemon alone; the first client starts it
  --no-path     leave the shell's configuration file alone
TEXT
}

mode=run
service=yes
path_line=yes
for argument in "$@"; do
    case $argument in
        --check) mode=check ;;
        --dry-run) mode=dry-run ;;
        --no-service) service=no ;;
        --no-path) path_line=no ;;
        -h | --help) usage; exit 0 ;;
        *) echo "error: unknown argument $argument" >&2; usage >&2; exit 2 ;;
    esac
done

root=$(cd "$(dirname "$0")" && pwd) || exit 1
cd "$root" || exit 1
: "${HOME:?HOME must be set}"
bin_dir=$HOME/.local/bin
target_dir=${CARGO_TARGET_DIR:-$root/target}
build_log=$target_dir/bootstrap-build.log
needed_rust=1.95
marker='# added by ctxnode bootstrap'
missing=0
replaced=no
scratch=

cleanup() {
    # Only what this run made, and only halves of it.
    rm -f "$bin_dir/.ctxnode.new.$$" "$bin_dir/.launcher.new.$$" "$bin_dir/.dev-session.new.$$"
    if [ -n "$scratch" ]; then rm -rf "$scratch"; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

ok() { printf '✓ %s\n' "$1"; }

absent() { # <what is missing>: for --check
    printf '✗ %s\n' "$1"
    missing=1
}

would() { printf '→ would %s\n' "$1"; }

fail() { # <what failed> <what to do>
    printf '✗ %s\n  %s\n' "$1" "$2"
    exit 1
}

# Returns whether this run may change things; otherwise says what is missing or what would be done.
may() { # <what is missing> <what would be done>
    case $mode in
        run) return 0 ;;
        check) absent "$1" ;;
        dry-run) would "$2" ;;
    esac
    return 1
}

check_platform() {
    local os arch
    os=$(uname -s)
    arch=$(uname -m)
    case "$os/$arch" in
        Linux/x86_64 | Linux/aarch64 | Linux/arm64 | Darwin/x86_64 | Darwin/arm64) ok "Platform: $os on $arch" ;;
        *) fail "Platform: $os on $arch" "ctxnode runs on Linux and macOS, on x86_64 and arm64." ;;
    esac
}

at_least() { # <version> <needed major.minor>
    local have_major have_minor need_major need_minor
    have_major=${1%%.*}
    have_minor=${1#*.}
    have_minor=${have_minor%%.*}
    need_major=${2%%.*}
    need_minor=${2#*.}
    [ "$have_major" -gt "$need_major" ] || { [ "$have_major" -eq "$need_major" ] && [ "$have_minor" -ge "$need_minor" ]; }
}

check_toolchain() {
    local version compiler_help
    # A fresh rustup lies here before the next login puts it on the PATH.
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
    fi
    if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
        fail "Toolchain: no cargo" "Type: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh   then run this again."
    fi
    version=$(rustc --version | awk '{print $2}')
    if ! at_least "$version" "$needed_rust"; then
        fail "Toolchain: rustc $version is older than $needed_rust" "Type: rustup update stable   then run this again."
    fi
    if ! command -v cc >/dev/null; then
        compiler_help="sudo apt-get install -y build-essential"
        if [ "$(uname -s)" = Darwin ]; then compiler_help="xcode-select --install"; fi
        fail "Toolchain: no C compiler (cc)" "Type: $compiler_help   then run this again."
    fi
    ok "Toolchain: rustc $version, cc"
}

# Shows the last line of cargo's progress on a terminal, and keeps everything in the log.
show_progress() {
    local line width
    width=$(($(tput cols 2>/dev/null || echo 80) - 4))
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$build_log"
        if [ -t 1 ]; then
            line=$(printf '%s' "$line" | sed 's/^ *//')
            printf '\r\033[K  %.*s' "$width" "$line"
        fi
    done
    if [ -t 1 ]; then printf '\r\033[K'; fi
}

build() {
    if [ "$mode" != run ]; then
        if [ -x "$target_dir/release/ctxnode" ]; then
            ok "Build: $target_dir/release/ctxnode is there"
        else
            may "Build: no release build" "build ctxnode (cargo build --release --locked)"
        fi
        return
    fi
    local started=$SECONDS status
    mkdir -p "$target_dir"
    : >"$build_log"
    if [ ! -x "$target_dir/release/ctxnode" ]; then
        printf '  Building ctxnode; the first time takes 5 to 30 minutes ...\n'
    fi
    cargo build --release --locked -p ctxnode-node -p ctxnode-launcher 2>&1 | show_progress
    status=${PIPESTATUS[0]}
    if [ "$status" -ne 0 ]; then
        tail -n 30 "$build_log"
        fail "Build: cargo ended with $status" "The whole log is in $build_log. Run this again to go on."
    fi
    ok "Build: release build is current ($((SECONDS - started)) s)"
}

digest() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | awk '{print $1}'
}

# A running program cannot be overwritten, and a half copy must never be started: copy beside it, compare, rename.
install_binary() { # <name>
    local built=$target_dir/release/$1 installed=$bin_dir/$1 new=$bin_dir/.$1.new.$$
    if [ "$mode" != run ] && [ ! -x "$built" ]; then
        may "Install: $installed" "install $installed"
        return
    fi
    if [ -x "$installed" ] && [ "$(digest "$installed")" = "$(digest "$built")" ]; then
        ok "Install: $installed is current"
        return
    fi
    may "Install: $installed is missing or another build" "install $installed" || return 0
    mkdir -p "$bin_dir" || fail "Install: $bin_dir cannot be made" "Check who owns $HOME/.local."
    if ! cp "$built" "$new" || ! chmod 755 "$new"; then
        fail "Install: $bin_dir cannot be written" "Check who owns it and whether the disk is full."
    fi
    if [ "$(digest "$new")" != "$(digest "$built")" ]; then
        fail "Install: the copy of $1 differs from the build" "The disk may be failing; nothing was installed."
    fi
    mv -f "$new" "$installed" || fail "Install: $installed cannot be replaced" "Check who owns it."
    replaced=yes
    ok "Install: $installed"
}

shell_file() {
    case ${SHELL:-} in
        */zsh) printf '%s\n' "${ZDOTDIR:-$HOME}/.zshrc" ;;
        */bash) if [ "$(uname -s)" = Darwin ]; then printf '%s\n' "$HOME/.bash_profile"; else printf '%s\n' "$HOME/.bashrc"; fi ;;
        *) printf '%s\n' "$HOME/.profile" ;;
    esac
}

add_to_path() {
    local file line
    file=$(shell_file)
    # The text is for the shell that reads the file later.
    # shellcheck disable=SC2016
    line='export PATH="$HOME/.local/bin:$PATH"  '$marker
    if [ -f "$file" ] && grep -qF "$marker" "$file"; then
        ok "PATH: $file has the line"
    elif [ "$path_line" = no ]; then
        ok "PATH: left alone (--no-path)"
    else
        case ":$PATH:" in
            *":$bin_dir:"*) ok "PATH: $bin_dir is on it" ;;
            *) append_line "$file" "$line" ;;
        esac
    fi
    PATH=$bin_dir:$PATH
    export PATH
}

append_line() { # <file> <line>
    may "PATH: $bin_dir is not on it" "add $bin_dir to the PATH in $1" || return 0
    # A last line without its end would swallow ours.
    if [ -s "$1" ] && [ -n "$(tail -c 1 "$1")" ]; then printf '\n' >>"$1"; fi
    printf '%s\n' "$2" >>"$1" || fail "PATH: $1 cannot be written" "Run this again with --no-path."
    ok "PATH: added to $1 (new terminals have it)"
}

data_dir() {
    if [ -n "${CTXNODE_DATA_DIR:-}" ]; then
        printf '%s\n' "$CTXNODE_DATA_DIR"
    elif [ -n "${XDG_DATA_HOME:-}" ]; then
        printf '%s\n' "$XDG_DATA_HOME/ctxnode"
    elif [ "$(uname -s)" = Darwin ]; then
        printf '%s\n' "$HOME/Library/Application Support/ctxnode"
    else
        printf '%s\n' "$HOME/.local/share/ctxnode"
    fi
}

has_replica() {
    local file
    for file in "$(data_dir)"/*.redb; do
        if [ -f "$file" ]; then return 0; fi
    done
    return 1
}

make_replica() {
    if has_replica; then
        ok "Replica: $(data_dir)"
        return
    fi
    may "Replica: none in $(data_dir)" "make a replica in $(data_dir) (ctxnode init)" || return 0
    # What init prints holds the recovery key, which is shown once: it must reach the person, not a file.
    if ! "$bin_dir/ctxnode" init; then
        fail "Replica: ctxnode init failed" "Read the lines above; run this again to go on."
    fi
    ok "Replica: made in $(data_dir)"
}

daemon_runs() {
    [ -x "$bin_dir/ctxnode" ] && CTXNODE_NO_AUTOSTART=1 "$bin_dir/ctxnode" daemon status >/dev/null 2>&1
}

start_daemon() {
    if [ "$service" = no ]; then
        ok "Daemon: left alone (--no-service)"
        return
    fi
    if daemon_runs && [ "$replaced" = no ]; then
        ok "Daemon: running"
        return
    fi
    may "Daemon: not running" "start the daemon (ctxnode daemon start)" || return 0
    # A daemon of the build before holds the store; the new one cannot start beside it.
    if daemon_runs && ! "$bin_dir/ctxnode" daemon stop >/dev/null; then
        fail "Daemon: the running one does not stop" "Type: ctxnode daemon status"
    fi
    if ! "$bin_dir/ctxnode" daemon start >/dev/null; then
        fail "Daemon: it does not start" "Type: ctxnode daemon run   to see why."
    fi
    ok "Daemon: started"
}

# The number of tools that the MCP shim lists: a real handshake through the installed binary, with 10 s to answer.
count_tools() {
    local answers=$scratch/mcp tries=0
    # Reading the answers while they are written is the point.
    # shellcheck disable=SC2094
    {
        printf '%s\n' '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bootstrap","version":"1"}}}'
        printf '%s\n' '{"jsonrpc":"2.0","method":"notifications/initialized"}'
        printf '%s\n' '{"jsonrpc":"2.0","id":2,"method":"tools/list"}'
        # The shim ends with its input, so the input stays open until the answer is there.
        while [ "$tries" -lt 100 ] && ! grep -q '"id":2' "$answers" 2>/dev/null; do
            sleep 0.1
            tries=$((tries + 1))
        done
    } | "$bin_dir/ctxnode" mcp >"$answers" 2>/dev/null
    grep '"id":2' "$answers" | grep -o '"inputSchema"' | wc -l | tr -d ' '
}

# The closing block. Each line is exercised, not inferred from the steps above.
verify() {
    local good=yes version tools status
    printf '\n=== Bootstrap ===\n'
    if version=$("$bin_dir/ctxnode" --version 2>/dev/null) && [ "$(digest "$bin_dir/ctxnode")" = "$(digest "$target_dir/release/ctxnode")" ]; then
        printf '✓ %s installed (checksum ok)\n' "$version"
    else
        printf '✗ ctxnode does not start, or is not the build of this checkout\n  Run this again.\n'
        good=no
    fi
    status=0
    if [ "$service" = yes ]; then
        "$bin_dir/ctxnode" doctor >"$scratch/doctor" 2>&1
        status=$?
    fi
    if [ "$service" = no ]; then
        printf '✓ Daemon left to the first client, store and MCP not exercised (--no-service)\n'
    elif daemon_runs && [ "$status" -ne 1 ]; then
        printf '✓ Daemon running, store open\n'
    else
        printf '✗ Daemon or store\n'
        sed 's/^/  /' "$scratch/doctor"
        good=no
    fi
    if [ "$(command -v ctxnode)" = "$bin_dir/ctxnode" ] && [ "$(command -v launcher)" = "$bin_dir/launcher" ]; then
        printf '✓ launcher and ctxnode on PATH\n'
    else
        printf '✗ another ctxnode or launcher comes first: %s, %s\n  Remove it, or put %s first in PATH.\n' \
            "$(command -v ctxnode)" "$(command -v launcher)" "$bin_dir"
        good=no
    fi
    printf '✓ single machine\n'
    if [ "$service" = yes ]; then
        tools=$(count_tools)
        if [ "$tools" -gt 0 ]; then
            printf '✓ MCP answers (%s tools)\n' "$tools"
        else
            printf '✗ MCP does not answer\n  Type: ctxnode doctor\n'
            good=no
        fi
    fi
    if [ "$status" -eq 2 ]; then
        printf '\nDoctor warns:\n'
        sed 's/^/  /' "$scratch/doctor"
    fi
    [ "$good" = yes ]
}

check_platform
check_toolchain
build
install_binary ctxnode
install_binary launcher
install_binary dev-session
add_to_path
make_replica
start_daemon

if [ "$mode" != run ]; then exit "$missing"; fi
scratch=$(mktemp -d) || fail "Self-check: no temporary directory" "Check TMPDIR and the disk."
verify || exit 1
printf '\nNext: cd into a checkout and type  ctxnode sod\n'
