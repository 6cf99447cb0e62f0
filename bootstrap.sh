#!/usr/bin/env bash
# Makes this machine a ctxnode node from a checkout: build, install, tools, agent CLIs, key, replica, daemon, set-up,
# self-check.
# Every step looks at what is there and does only what is missing, so a second run changes nothing and a run that failed
# goes on where it stopped. Works with the bash 3.2 of macOS.
set -u

usage() {
    cat <<'TEXT'
Usage: ./bootstrap.sh [options]

  --check         say what is in place and what is missing; change nothing
  --dry-run       say what a run would do; change nothing
  --agents LIST   agent CLIs to install when they are missing, and to set up: claude,codex,gemini,agy, or none;
                  without it those that are installed are set up
  --tools         install missing tools (gh, tmux, mosh, node) with the package manager without asking, and the secrets
                  CLI (infisical) with brew or npm
  --join FILE     join the fleet whose invite code is in FILE, or on stdin when FILE is -
  --no-service    no user service: the first client starts the daemon
  --no-path       leave the shell's configuration file alone

It builds from this checkout: there are no prebuilt binaries yet. Keys for SSH between your machines (the mesh) are not
spread yet either; with Tailscale or keys of your own SSH works as it does without ctxnode.
TEXT
}

known_agents="claude codex gemini agy"
mode=run
service=yes
path_line=yes
tools=ask
agents=
join_from=
bad_usage() { echo "error: $1" >&2; usage >&2; exit 2; }
while [ $# -gt 0 ]; do
    case $1 in
        --check) mode=check ;;
        --dry-run) mode=dry-run ;;
        --tools) tools=yes ;;
        --agents | --join)
            [ $# -ge 2 ] || bad_usage "$1 needs a value"
            if [ "$1" = --agents ]; then agents=$2; else join_from=$2; fi
            shift
            ;;
        --agents=*) agents=${1#*=} ;;
        --join=*) join_from=${1#*=} ;;
        --no-service) service=no ;;
        --no-path) path_line=no ;;
        -h | --help) usage; exit 0 ;;
        *) bad_usage "unknown argument $1" ;;
    esac
    shift
done
case $join_from in
    # What stands in an argument list, every user of the machine can read, and so can the shell's history.
    ctxj-*) bad_usage "the invite code does not belong on the command line: put it into a file, or use --join - and stdin" ;;
esac
agents=$(printf '%s' "$agents" | tr ',' ' ')
for name in $agents; do
    case " $known_agents none " in
        *" $name "*) ;;
        *) bad_usage "unknown agent CLI $name; known are $known_agents, and none" ;;
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
joined=no
scratch=
step_began=$SECONDS
# What agent CLIs print that the human must confirm; shown at the end, where it is read.
to_confirm=

key=$HOME/.ssh/id_ed25519

cleanup() {
    # Only what this run made, and only halves of it.
    rm -f "$bin_dir/.ctxnode.new.$$" "$bin_dir/.launcher.new.$$" "$bin_dir/.dev-session.new.$$" \
        "$HOME/.ssh/.id_ed25519.new.$$" "$HOME/.ssh/.id_ed25519.new.$$.pub"
    if [ -n "$scratch" ]; then rm -rf "$scratch"; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Deletes the halves that runs have left which were killed; a run that still goes on has its own.
sweep() { # <what their names begin with>
    local half pid
    for half in "$1.new."*; do
        pid=${half##*.new.}
        if [ -e "$half" ] && ! kill -0 "${pid%.pub}" 2>/dev/null; then rm -f "$half"; fi
    done
}

# Each line ends its step, and says how long that took.
took() {
    printf ' (%s s)\n' "$((SECONDS - step_began))"
    step_began=$SECONDS
}

ok() { printf '✓ %s' "$1"; took; }

absent() { # <what is missing>: for --check
    printf '✗ %s\n' "$1"
    missing=1
}

would() { printf '→ would %s\n' "$1"; }

skipped() { # <what is skipped> <how to get it>
    printf -- '- %s: skipped. %s\n' "$1" "$2"
    step_began=$SECONDS
}

# Asks a person; without a terminal the answer is no. Stdin may carry the invite code, and then nobody can be asked.
asked() { # <question>
    local answer
    if [ ! -t 0 ] || [ ! -t 1 ]; then return 1; fi
    printf '%s [y/N] ' "$1"
    read -r answer || return 1
    case $answer in y | Y | yes) return 0 ;; esac
    return 1
}

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
    version=$(rustc --version 2>/dev/null | awk '{print $2}')
    if [ -z "$version" ]; then
        # The programs of rustup are there before it has a toolchain.
        fail "Toolchain: rustc does not run" "Type: rustup default stable   then run this again."
    fi
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
    local status
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
    ok "Build: release build is current"
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
    if [ "$mode" = run ]; then sweep "$bin_dir/.$1"; fi
    if [ -x "$installed" ] && [ "$(digest "$installed")" = "$(digest "$built")" ]; then
        # Also by a run that was killed before it had noted so.
        if [ "$mode" = run ]; then note program "$installed"; fi
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
    note program "$installed"
    ok "Install: $installed"
}

# A login bash reads the first of these and no other: a new .bash_profile would keep it from somebody's .profile.
login_file() {
    local name
    for name in .bash_profile .bash_login .profile; do
        if [ -e "$HOME/$name" ]; then
            printf '%s\n' "$HOME/$name"
            return
        fi
    done
    printf '%s\n' "$HOME/.profile"
}

shell_file() {
    case ${SHELL:-} in
        */zsh) printf '%s\n' "${ZDOTDIR:-$HOME}/.zshrc" ;;
        */bash) if [ "$(uname -s)" = Darwin ]; then login_file; else printf '%s\n' "$HOME/.bashrc"; fi ;;
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
    # What is noted here, `ctxnode uninstall` takes back to the byte.
    if [ ! -e "$1" ]; then note shell-file "$1"; fi
    # A last line without its end would swallow ours.
    if [ -s "$1" ] && [ -n "$(tail -c 1 "$1")" ]; then
        note line-end "$1"
        printf '\n' >>"$1"
    fi
    note path-line "$1"
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

state_dir() {
    if [ -n "${XDG_STATE_HOME:-}" ]; then
        printf '%s\n' "$XDG_STATE_HOME/ctxnode"
    elif [ "$(uname -s)" = Darwin ]; then
        printf '%s\n' "$HOME/Library/Application Support/ctxnode"
    else
        printf '%s\n' "$HOME/.local/state/ctxnode"
    fi
}

# Notes what was done to which file, once, for `ctxnode uninstall`.
note() { # <word> <path>
    local record
    record=$(state_dir)/bootstrap.record
    if grep -qxF "$1 $2" "$record" 2>/dev/null; then return; fi
    mkdir -p "$(state_dir)" && chmod 700 "$(state_dir)" && printf '%s %s\n' "$1" "$2" >>"$record"
}

package_manager() {
    local name
    for name in apt-get dnf pacman zypper brew; do
        if command -v "$name" >/dev/null; then
            printf '%s\n' "$name"
            return
        fi
    done
}

install_command() { # <package manager> <packages>
    local root_do=
    if [ "$(id -u)" -ne 0 ]; then root_do="sudo "; fi
    case $1 in
        apt-get) printf '%sapt-get install -y %s\n' "$root_do" "$2" ;;
        dnf) printf '%sdnf install -y %s\n' "$root_do" "$2" ;;
        pacman) printf '%spacman -S --noconfirm %s\n' "$root_do" "$2" ;;
        zypper) printf '%szypper --non-interactive install %s\n' "$root_do" "$2" ;;
        brew) printf 'brew install %s\n' "$2" ;;
        *) printf '(no package manager known here) install: %s\n' "$2" ;;
    esac
}

package_of() { # <package manager> <tool>
    case $1/$2 in
        apt-get/node | dnf/node | pacman/node) echo "nodejs npm" ;;
        zypper/node) echo "nodejs-default npm-default" ;;
        dnf/gh | apt-get/gh | zypper/gh | brew/gh) echo gh ;;
        pacman/gh) echo github-cli ;;
        *) echo "$2" ;;
    esac
}

missing_tools() {
    local tool
    for tool in git gh tmux mosh node; do
        if ! command -v "$tool" >/dev/null; then printf '%s ' "$tool"; fi
    done
}

run_words() { "$@"; }

# Tools make more of ctxnode work; none of them is needed to go on, so what cannot be had is said and skipped.
install_tools() {
    local wanted manager tool packages log
    wanted=$(missing_tools)
    wanted=${wanted% }
    if [ -z "$wanted" ]; then
        ok "Tools: git, gh, tmux, mosh, node"
        return
    fi
    manager=$(package_manager)
    packages=$(for tool in $wanted; do package_of "$manager" "$tool"; done | tr '\n' ' ')
    packages=${packages% }
    if [ "$mode" = dry-run ] && [ "$tools" = yes ]; then
        would "install $wanted ($(install_command "$manager" "$packages"))"
        return
    fi
    if [ "$mode" != run ] || [ -z "$manager" ] \
        || { [ "$tools" != yes ] && ! asked "Install $wanted with $manager?"; }; then
        skipped "Tools: no $wanted" "Type: $(install_command "$manager" "$packages")   or run this with --tools."
        return
    fi
    if [ "$(id -u)" -ne 0 ] && [ "$manager" != brew ] && ! sudo -n true 2>/dev/null && [ ! -t 0 ]; then
        skipped "Tools: no $wanted, and sudo would ask for a password" "Type: $(install_command "$manager" "$packages")"
        return
    fi
    log=$target_dir/bootstrap-tools.log
    mkdir -p "$target_dir"
    : >"$log"
    if [ "$manager" = apt-get ]; then
        # A fresh image has no lists of packages.
        if [ "$(id -u)" -eq 0 ]; then apt-get update; else sudo apt-get update; fi >>"$log" 2>&1
    fi
    # One by one: a package that this system does not have must not cost the others.
    for tool in $wanted; do
        # shellcheck disable=SC2046  # a command and its words
        if ! run_words $(install_command "$manager" "$(package_of "$manager" "$tool")") >>"$log" 2>&1; then
            printf -- '- Tools: %s could not be installed; the log is in %s\n' "$tool" "$log"
        fi
    done
    wanted=$(missing_tools)
    if [ -z "$wanted" ]; then ok "Tools: git, gh, tmux, mosh, node"; else skipped "Tools: no ${wanted% }" "Install them by hand."; fi
}

agent_package() { # <agent>
    case $1 in
        claude) echo @anthropic-ai/claude-code ;;
        codex) echo @openai/codex ;;
        gemini) echo @google/gemini-cli ;;
    esac
}

agent_hint() { # <agent>
    if [ "$1" = agy ]; then
        echo "curl -fsSL https://antigravity.google/cli/install.sh | bash"
    else
        echo "npm install -g --prefix ~/.local $(agent_package "$1")"
    fi
}

installed_agents() {
    local name
    for name in $known_agents; do
        if command -v "$name" >/dev/null; then printf '%s ' "$name"; fi
    done
}

install_agent() { # <agent>
    local log=$target_dir/bootstrap-$1.log
    mkdir -p "$target_dir"
    if [ "$1" = agy ]; then
        # Fetched whole before it is run: half a script must not be.
        curl -fsSL https://antigravity.google/cli/install.sh -o "$log.sh" 2>"$log" && bash "$log.sh" >>"$log" 2>&1
    else
        if ! command -v npm >/dev/null; then
            fail "Agent CLIs: $1 needs npm" "Run this with --tools, or install Node.js 20 or newer; then run this again."
        fi
        # Into the user's own folder: nothing here needs root.
        npm install --loglevel=error --no-audit --no-fund -g --prefix "$HOME/.local" "$(agent_package "$1")" >"$log" 2>&1
    fi
}

# The agent CLIs that were named, else those that are there, else those that a person names.
choose_agents() {
    local answer
    if [ "$agents" = none ]; then
        agents=
        skipped "Agent CLIs (--agents none)" "Later: ctxnode setup --all"
        return 1
    fi
    if [ -z "$agents" ]; then agents=$(installed_agents); fi
    if [ -z "$agents" ] && [ "$mode" = run ] && [ -t 0 ] && [ -t 1 ]; then
        printf 'No agent CLI is installed. Which ones (%s; empty for none)? ' "$known_agents"
        read -r answer || answer=
        for name in $(printf '%s' "$answer" | tr ',' ' '); do
            case " $known_agents " in *" $name "*) agents="$agents $name" ;; esac
        done
    fi
    if [ -z "$agents" ]; then
        skipped "Agent CLIs: none installed" "Run this with --agents claude (or $known_agents)."
        return 1
    fi
}

# A list of names with one space before each.
one_space() {
    local name
    for name in $1; do printf ' %s' "$name"; done
}

install_agents() {
    local name all=yes
    choose_agents || return 0
    for name in $agents; do
        if command -v "$name" >/dev/null; then continue; fi
        may "Agent CLIs: no $name" "install $name ($(agent_hint "$name"))" || { all=no; continue; }
        printf '  Installing %s ...\n' "$name"
        if ! install_agent "$name" || ! command -v "$name" >/dev/null; then
            fail "Agent CLIs: $name could not be installed" "Type: $(agent_hint "$name")   The log is $target_dir/bootstrap-$name.log."
        fi
    done
    if [ "$all" = yes ]; then ok "Agent CLIs:$(one_space "$agents")"; fi
}

# Whether a public half is that of our key. One with a passphrase does not say so, and we make none.
is_half_of_key() { # <public half>
    local own
    own=$(ssh-keygen -y -P '' -f "$key" 2>/dev/null </dev/null) || return 1
    [ "$(printf '%s\n' "$own" | awk '{print $1, $2; exit}')" = "$(awk '{print $1, $2; exit}' "$1")" ]
}

# A run that was killed between the two halves of a new key is finished here, unless the key is somebody's own by now.
finish_key() {
    local half
    for half in "$HOME/.ssh/.id_ed25519.new."*.pub; do
        if [ -f "$half" ] && [ -f "$key" ] && [ ! -e "$key.pub" ] && is_half_of_key "$half"; then mv -n "$half" "$key.pub"; fi
    done
    sweep "$HOME/.ssh/.id_ed25519"
}

make_key() {
    local new=$HOME/.ssh/.id_ed25519.new.$$
    if [ "$mode" = run ]; then finish_key; fi
    # Of a key in an agent or on a stick there is the public half alone.
    if [ -f "$key" ] || [ -f "$key.pub" ]; then
        ok "SSH key: $key"
        return
    fi
    if ! command -v ssh-keygen >/dev/null; then
        skipped "SSH key: no ssh-keygen" "Install openssh-client, then run this again."
        return
    fi
    may "SSH key: no $key" "make the Ed25519 key $key" || return 0
    mkdir -p "$HOME/.ssh" && chmod 700 "$HOME/.ssh"
    # One that does not move because there is another by now is no failure; some versions of mv call it one.
    if ! ssh-keygen -q -t ed25519 -N '' -C "$(id -un)@$(uname -n)" -f "$new" </dev/null \
        || { ! mv -n "$new" "$key" && [ ! -e "$key" ]; }; then
        fail "SSH key: $key cannot be made" "Check who owns $HOME/.ssh."
    fi
    # Somebody else's, made in this very moment, stays.
    if [ -e "$new" ]; then
        ok "SSH key: $key"
        return
    fi
    if [ -f "$new.pub" ]; then mv -n "$new.pub" "$key.pub"; fi
    ok "SSH key: made $key"
}

look_at_tailscale() {
    if ! command -v tailscale >/dev/null; then
        skipped "Tailscale (optional)" "Machines on one network reach each other without it: https://tailscale.com/download"
    elif tailscale status >/dev/null 2>&1; then
        ok "Tailscale: on"
    else
        skipped "Tailscale is off (optional)" "Type: tailscale up"
    fi
}

has_replica() {
    local file
    for file in "$(data_dir)"/*.redb; do
        if [ -f "$file" ]; then return 0; fi
    done
    return 1
}

# How many members of its fleet this machine knows besides itself.
known_peers() {
    local listed
    listed=$("$bin_dir/ctxnode" peers --json 2>/dev/null) || return 1
    printf '%s\n' "$(($(printf '%s\n' "$listed" | grep -c '"node": ') - $(printf '%s\n' "$listed" | grep -c '"state": "revoked"')))"
}

# An invite code makes a new replica and cannot be used on one that is there.
join_beside_replica() {
    local peers dir
    dir=$(data_dir)
    if [ "$mode" != run ]; then
        ok "Replica: $dir; a run says whether it is in a fleet, and --join does not replace it"
        return
    fi
    if ! peers=$(known_peers); then
        fail "Replica: $dir is there, and it does not say whether it is in a fleet" "Type: ctxnode doctor   then run this again."
    elif [ "$peers" -gt 0 ]; then
        joined=yes
        ok "Replica: $dir is in a fleet with $peers others already; the code was not used"
    else
        fail "Replica: $dir is one of this machine alone, and --join needs an empty place" \
            "To give it up (what is only in it stays in the moved copy), type: ctxnode daemon stop; mv '$dir' '$dir.alone'   then run this again. To keep it, leave --join out and invite the other machines from here."
    fi
}

make_replica() {
    if has_replica; then
        if [ -n "$join_from" ]; then join_beside_replica; else ok "Replica: $(data_dir)"; fi
        return
    fi
    if [ -n "$join_from" ]; then
        join_fleet
        return
    fi
    may "Replica: none in $(data_dir)" "make a replica in $(data_dir) (ctxnode init)" || return 0
    # What init prints holds the recovery key, which is shown once: it must reach the person, not a file.
    if ! "$bin_dir/ctxnode" init; then
        fail "Replica: ctxnode init failed" "Read the lines above; run this again to go on."
    fi
    ok "Replica: made in $(data_dir)"
}

# The code goes from the file or from our stdin to the program's stdin, and nowhere else.
join_fleet() {
    may "Replica: none in $(data_dir)" "join the fleet with the code from $join_from (ctxnode join -)" || return 0
    if [ "$join_from" != - ] && [ ! -r "$join_from" ]; then
        fail "Replica: $join_from cannot be read" "Write the code of 'ctxnode invite' into it, or use --join - and stdin."
    fi
    if ! if [ "$join_from" = - ]; then "$bin_dir/ctxnode" join -; else "$bin_dir/ctxnode" join - <"$join_from"; fi; then
        fail "Replica: the fleet was not joined" "A code works once: type 'ctxnode invite' on a member for a new one, then run this again."
    fi
    joined=yes
    ok "Replica: joined the fleet, in $(data_dir)"
}

daemon_runs() {
    [ -x "$bin_dir/ctxnode" ] && CTXNODE_NO_AUTOSTART=1 "$bin_dir/ctxnode" daemon status >/dev/null 2>&1
}

# Whether the running daemon is of the build before: this run has replaced its program, or one that was killed then.
daemon_is_old() {
    local build
    if [ "$replaced" = yes ]; then return 0; fi
    build=$("$bin_dir/ctxnode" --version 2>/dev/null)
    ! CTXNODE_NO_AUTOSTART=1 "$bin_dir/ctxnode" daemon status 2>/dev/null | grep -qF " ${build##* }"
}

# Whether this login has something that keeps user services running.
has_service_manager() {
    if [ "$(uname -s)" = Darwin ]; then
        command -v launchctl >/dev/null && launchctl print "gui/$(id -u)" >/dev/null 2>&1
    else
        command -v systemctl >/dev/null && systemctl --user show-environment >/dev/null 2>&1
    fi
}

service_file() {
    if [ "$(uname -s)" = Darwin ]; then
        printf '%s\n' "$HOME/Library/LaunchAgents/dev.ctxnode.daemon.plist"
    else
        printf '%s\n' "$HOME/.config/systemd/user/ctxnode.service"
    fi
}

stop_daemon() {
    if daemon_runs && ! "$bin_dir/ctxnode" daemon stop >/dev/null; then
        fail "Daemon: the running one does not stop" "Type: ctxnode daemon status"
    fi
}

wait_for_daemon() {
    local tries=0
    while [ "$tries" -lt 100 ] && ! daemon_runs; do
        sleep 0.1
        tries=$((tries + 1))
    done
    daemon_runs
}

start_daemon() {
    if [ "$service" = no ]; then
        # A daemon of the build before holds the store; the first client starts the new one.
        if [ "$mode" = run ] && daemon_runs && daemon_is_old; then stop_daemon; fi
        ok "Daemon: its first client starts it (--no-service)"
    elif has_service_manager; then
        run_service
    else
        start_in_background
    fi
}

run_service() {
    if daemon_runs && ! daemon_is_old && [ -f "$(service_file)" ]; then
        ok "Daemon: running, a service of this user"
        return
    fi
    may "Daemon: no service of this user runs it, or one of another build" "install the daemon as a user service (ctxnode daemon install)" || return 0
    # One that runs in the background holds the store; the service could not start beside it.
    stop_daemon
    if ! "$bin_dir/ctxnode" daemon install >/dev/null || ! wait_for_daemon; then
        fail "Daemon: the service does not start" "Type: ctxnode daemon run   to see why, or run this with --no-service."
    fi
    ok "Daemon: started, a service of this user"
    if command -v loginctl >/dev/null && [ "$(loginctl show-user "$(id -un)" -p Linger --value 2>/dev/null)" = no ]; then
        printf '  It ends when you log out; type: loginctl enable-linger   to keep it.\n'
    fi
}

start_in_background() {
    if daemon_runs && ! daemon_is_old; then
        ok "Daemon: running"
        return
    fi
    may "Daemon: not running, or of another build" "start the daemon (ctxnode daemon start)" || return 0
    stop_daemon
    if ! "$bin_dir/ctxnode" daemon start >/dev/null; then
        fail "Daemon: it does not start" "Type: ctxnode daemon run   to see why."
    fi
    ok "Daemon: started (no user services here; after a restart the first client starts it)"
}

# Settings for phones, copied texts and true colour; the user's own, below them, win.
set_up_tmux() {
    local said
    if ! command -v tmux >/dev/null; then
        skipped "tmux: not installed" "Later: ctxnode tmux setup"
        return
    fi
    if [ ! -x "$bin_dir/ctxnode" ]; then
        may "tmux: not set up" "write tmux's settings (ctxnode tmux setup)"
        return
    fi
    if "$bin_dir/ctxnode" tmux setup --check >/dev/null 2>&1; then
        ok "tmux: settings are as they should be"
        return
    fi
    may "tmux: settings differ" "write tmux's settings (ctxnode tmux setup)" || return 0
    if ! said=$("$bin_dir/ctxnode" tmux setup 2>&1); then
        printf '%s\n' "$said" | sed 's/^/  /'
        fail "tmux: settings" "Correct the file that is named above, then run this again."
    fi
    ok "tmux: settings written (ctxnode tmux setup --remove takes them out)"
}

# Where the shell of this user looks for completions by itself.
completion_file() {
    local folder
    case ${SHELL:-} in
        */bash) printf '%s\n' "${XDG_DATA_HOME:-$HOME/.local/share}/bash-completion/completions/ctxnode" ;;
        */fish) printf '%s\n' "${XDG_CONFIG_HOME:-$HOME/.config}/fish/completions/ctxnode.fish" ;;
        */zsh)
            # It has no folder for a user of its own. What stands on its list before any file of the user's is read (that
            # could do anything) and can be written is one, as with brew.
            # shellcheck disable=SC2016  # for zsh
            "$SHELL" -fc 'print -rl -- $fpath' </dev/null 2>/dev/null | while IFS= read -r folder; do
                if [ -d "$folder" ] && [ -w "$folder" ]; then
                    printf '%s\n' "$folder/_ctxnode"
                    break
                fi
            done
            ;;
    esac
}

write_completions() {
    local shell file text
    shell=${SHELL:-}
    shell=${shell##*/}
    file=$(completion_file)
    if [ -z "$file" ]; then
        case $shell in
            zsh) skipped "Completions: zsh looks in no folder of yours" "Type: ctxnode completions zsh >FOLDER/_ctxnode   with a FOLDER of your fpath." ;;
            *) skipped "Completions: none for this shell" "There are some for bash, zsh and fish." ;;
        esac
        return
    fi
    if [ ! -x "$bin_dir/ctxnode" ]; then
        may "Completions: none for $shell" "write $file"
        return
    fi
    if ! text=$("$bin_dir/ctxnode" completions "$shell" 2>/dev/null); then
        skipped "Completions: none for $shell" "There are some for bash, zsh and fish."
        return
    fi
    if [ -f "$file" ] && [ "$(cat "$file")" = "$text" ]; then
        ok "Completions: $file is current"
        return
    fi
    if [ -e "$file" ] && ! grep -qxF "completion $file" "$(state_dir)/bootstrap.record" 2>/dev/null; then
        skipped "Completions: $file is somebody's own" "Delete it and run this again to have ours."
        return
    fi
    may "Completions: $file is missing or of another build" "write $file" || return 0
    note completion "$file"
    if ! mkdir -p "$(dirname "$file")" || ! printf '%s\n' "$text" >"$file"; then
        skipped "Completions: $file cannot be written" "Check who owns it."
        return
    fi
    ok "Completions: $file"
}

# The maker's own packages: no distribution has it.
secrets_hint() {
    if command -v brew >/dev/null; then
        echo "brew install infisical/get-cli/infisical"
    else
        echo "npm install -g --prefix ~/.local @infisical/cli"
    fi
}

add_secrets_cli() {
    if command -v brew >/dev/null; then
        brew install infisical/get-cli/infisical
    else
        npm install --loglevel=error --no-audit --no-fund -g --prefix "$HOME/.local" @infisical/cli
    fi
}

# Only ventures with secrets in the provider need its program, so what cannot be had is said and skipped.
install_secrets_cli() {
    local how log=$target_dir/bootstrap-infisical.log
    if command -v infisical >/dev/null; then
        ok "Secrets CLI: infisical"
        return
    fi
    how=$(secrets_hint)
    if [ "$mode" = dry-run ] && [ "$tools" = yes ]; then
        would "install infisical ($how)"
        return
    fi
    if ! command -v "${how%% *}" >/dev/null; then
        skipped "Secrets CLI: no infisical, and no npm to install it" "Only for ventures that keep secrets there: https://infisical.com/docs/cli/overview"
        return
    fi
    if [ "$mode" != run ] || { [ "$tools" != yes ] && ! asked "Install infisical, for ventures that keep secrets there?"; }; then
        skipped "Secrets CLI: no infisical" "Only for ventures that keep secrets there. Type: $how   or run this with --tools."
        return
    fi
    mkdir -p "$target_dir"
    # Its npm package fetches the program once it is there itself: only what can be started counts.
    if add_secrets_cli >"$log" 2>&1 && infisical --version >/dev/null 2>&1; then
        ok "Secrets CLI: infisical"
    else
        skipped "Secrets CLI: infisical could not be installed; the log is in $log" "Type: $how"
    fi
}

# Makes the chosen agent CLIs know ctxnode. What a human must confirm is kept for the end.
set_up_agents() {
    local name said all=yes
    if [ -z "$agents" ]; then return; fi
    for name in $agents; do
        if [ ! -x "$bin_dir/ctxnode" ]; then
            may "Set-up: $name does not know ctxnode" "set $name up (ctxnode setup $name)" || all=no
            continue
        fi
        if "$bin_dir/ctxnode" setup "$name" --scope user --check >/dev/null 2>&1; then continue; fi
        may "Set-up: $name differs" "set $name up (ctxnode setup $name --scope user)" || { all=no; continue; }
        if ! said=$("$bin_dir/ctxnode" setup "$name" --scope user 2>&1); then
            printf '%s\n' "$said" | sed 's/^/  /'
            fail "Set-up: $name" "Correct the file that is named above, then run this again."
        fi
        to_confirm=$to_confirm$(printf '%s\n' "$said" | grep "^  $name: ")'
'
    done
    if [ "$all" = yes ]; then ok "Set-up:$(one_space "$agents")"; fi
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

# Waits a moment for a machine that joined just now to reach somebody; says how many peers it reaches of how many.
count_peers() {
    local tries=0 all=0 reached=0
    while :; do
        "$bin_dir/ctxnode" peers --json >"$scratch/peers" 2>/dev/null
        all=$(($(grep -c '"node": ' "$scratch/peers") - $(grep -c '"state": "revoked"' "$scratch/peers")))
        reached=$(grep -cE '"state": "(connected|via_others)"' "$scratch/peers")
        if [ "$reached" -gt 0 ] || [ "$all" -eq 0 ] || [ "$tries" -ge 50 ]; then break; fi
        sleep 0.1
        tries=$((tries + 1))
    done
    printf '%s %s\n' "$reached" "$all"
}

verify_fleet() {
    local reached all
    read -r reached all <<TEXT
$(count_peers)
TEXT
    if [ "$all" -eq 0 ] && [ "$joined" = no ]; then
        printf '✓ single machine\n'
    elif [ "$reached" -gt 0 ]; then
        printf '✓ Fleet joined, %s of %s peers reachable\n' "$reached" "$all"
    else
        printf '✗ Fleet joined, none of %s peers reachable\n  Switch one on, or type: ctxnode doctor   to see why.\n' "$all"
        good=no
    fi
}

# Each CLI's registered command is started, as that CLI would, and asked for its tools.
verify_mcp() {
    local name said connected='' count
    for name in $agents; do
        if said=$("$bin_dir/ctxnode" setup "$name" --verify 2>&1); then
            connected="$connected${connected:+, }$name"
        else
            printf '%s\n' "$said"
            good=no
        fi
    done
    if [ -n "$connected" ]; then
        printf '✓ MCP connected (%s)\n' "$connected"
    elif [ -z "$agents" ]; then
        count=$(count_tools)
        if [ "$count" -gt 0 ]; then
            printf '✓ MCP answers (%s tools)\n' "$count"
        else
            printf '✗ MCP does not answer\n  Type: ctxnode doctor\n'
            good=no
        fi
    fi
}

# The closing block. Each line is exercised, not inferred from the steps above.
verify() {
    local good=yes version status
    printf '\n=== Bootstrap ===\n'
    if version=$("$bin_dir/ctxnode" --version 2>/dev/null) && [ "$(digest "$bin_dir/ctxnode")" = "$(digest "$target_dir/release/ctxnode")" ]; then
        printf '✓ %s installed (checksum ok)\n' "$version"
    else
        printf '✗ ctxnode does not start, or is not the build of this checkout\n  Run this again.\n'
        good=no
    fi
    # Without a service this is the first client.
    if [ "$service" = no ]; then "$bin_dir/ctxnode" daemon start >/dev/null 2>&1; fi
    "$bin_dir/ctxnode" doctor >"$scratch/doctor" 2>&1
    status=$?
    if daemon_runs && [ "$status" -ne 1 ]; then
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
    verify_fleet
    verify_mcp
    if [ "$status" -eq 2 ]; then
        printf '\nDoctor warns:\n'
        # What is as it should be is not a warning.
        grep -v '^✓' "$scratch/doctor" | sed 's/^/  /'
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
write_completions
install_tools
install_secrets_cli
install_agents
look_at_tailscale
make_key
make_replica
start_daemon
set_up_agents
set_up_tmux

if [ "$mode" != run ]; then exit "$missing"; fi
scratch=$(mktemp -d) || fail "Self-check: no temporary directory" "Check TMPDIR and the disk."
verify || exit 1
if [ -n "$to_confirm" ]; then
    printf '\nConfirm by hand; ctxnode does not write what you trust:\n%s' "$to_confirm"
fi
printf '\nNot there yet: prebuilt binaries (this is a build of your checkout) and the SSH mesh.\n'
printf 'Done in %s s. Next: launcher CODE   (launcher --list shows the ventures; ctxnode venture set adds one)\n' "$SECONDS"
