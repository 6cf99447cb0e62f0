//! Bootstrap runs that are killed with all that they had started, and the runs that finish them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use ctxnode_testkit::Sandbox;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{bootstrap, command, printed, sandbox, state};

type Tree = BTreeMap<String, (u32, String)>;

/// Every file of the home by its path in it, with its rights and its text. A text that names the sandbox is the same in all.
fn tree(sandbox: &Sandbox) -> Tree {
    let (home, root) = (sandbox.home().display().to_string(), sandbox.root().display().to_string());
    let files = state(&sandbox.home()).into_iter().map(|(path, (_, text))| {
        let mode = fs::metadata(&path).expect("the file is there").mode();
        let text = String::from_utf8_lossy(&text).replace(&root, "ROOT");
        (path.replace(&home, "HOME"), (mode, text))
    });
    files.collect()
}

/// What is in only one of two trees, or differs in them.
fn differing(one: &Tree, other: &Tree) -> Vec<String> {
    let of = |tree: &Tree, name: &String| tree.get(name).map(|(mode, text)| format!("{mode:o} {text:.300}"));
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differ = names.into_iter().filter(|name| one.get(*name) != other.get(*name));
    differ.map(|name| format!("{name}: {:?}, should be {:?}", of(one, name), of(other, name))).collect()
}

/// The lines by which a run says what it did, one for each step.
fn steps(text: &str) -> Vec<String> {
    let own = text.split("\n=== Bootstrap ===").next().unwrap_or_default();
    let is_step = |line: &&str| line.starts_with("✓ ") || line.starts_with("- ");
    own.lines().filter(is_step).map(str::to_owned).collect()
}

/// Runs the script and kills it, with all that it had started, right after it said so many lines of steps.
fn killed_after(sandbox: &Sandbox, arguments: &[&str], count: usize) {
    let mut command = command(sandbox, arguments);
    let mut child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("bash starts");
    let said = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    let mut said = said.filter(|line| steps(line).len() == 1);
    for _ in 0..count {
        assert!(said.next().is_some(), "it ended before its line {count}");
    }
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("it has a number");
    kill_process_group(group, Signal::KILL).expect("it runs");
    child.wait().expect("it was started here");
}

/// A program for keys that are the same everywhere: two halves, as the real one makes them, and with `-y` the public half of
/// a private one.
const KEYGEN: &str = r#"
how=$1
while [ $# -gt 1 ]; do shift; done
if [ "$how" = -y ]; then
    sed 's/^private/ssh-ed25519/' "$1"
else
    echo private ours >"$1"; chmod 600 "$1"; echo ssh-ed25519 ours user@host >"$1.pub"
fi
"#;

fn with_keys() -> Sandbox {
    let sandbox = sandbox();
    sandbox.fake_program("ssh-keygen", KEYGEN);
    sandbox
}

/// B-02: a run that was killed in any of its steps is finished by the next one, and the home is then as one that nobody
/// disturbed.
#[test]
fn b_02_a_run_that_was_killed_at_any_step_is_finished_by_the_next() {
    let arguments = ["--agents", "claude"];
    let undisturbed = with_keys();
    let whole = bootstrap(&undisturbed, &arguments, &[]);
    assert!(whole.status.success(), "{}", printed(&whole));
    let (steps, wanted) = (steps(&printed(&whole)), tree(&undisturbed));
    assert!(steps.len() >= 15 && wanted.len() >= 10, "{steps:?} {:?}", wanted.keys());
    let finished = |count: usize| {
        let Some(step) = steps.get(count) else { return false };
        let sandbox = with_keys();
        killed_after(&sandbox, &arguments, count);
        let next = bootstrap(&sandbox, &arguments, &[]);
        assert!(next.status.success(), "killed in {step}: {}", printed(&next));
        let differ = differing(&tree(&sandbox), &wanted);
        assert!(differ.is_empty(), "killed in {step}: {}", differ.join("\n"));
        true
    };
    assert_eq!(in_parallel(finished), steps.len());
}

/// Has a bash kill itself, and all of its group, before the command number `KILL_AT` of those that change something.
const KILLER: &str = r#"
set -T
_changes=0
trap 'case $BASH_COMMAND in
    mv\ * | mkdir\ * | cp\ * | chmod\ * | rm\ * | printf*\>* | note\ * | npm\ * | ssh-keygen\ * | *bin_dir/ctxnode*)
        _changes=$((_changes + 1))
        if [ "$_changes" -eq "$KILL_AT" ]; then kill -KILL 0; fi ;;
esac' DEBUG
"#;

/// B-02: the same before every single command that changes something.
#[test]
fn b_02_a_run_that_was_killed_before_any_command_is_finished_by_the_next() {
    let arguments = ["--agents", "claude"];
    let undisturbed = with_keys();
    assert!(bootstrap(&undisturbed, &arguments, &[]).status.success());
    let wanted = tree(&undisturbed);
    // Returns whether there was such a command.
    let finished = |at: usize| {
        let sandbox = with_keys();
        let killer = sandbox.root().join("killer");
        fs::write(&killer, KILLER).expect("own file");
        let mut command = command(&sandbox, &arguments);
        command.env("BASH_ENV", &killer).env("KILL_AT", at.to_string()).process_group(0);
        let killed = command.output().expect("bash starts");
        let next = bootstrap(&sandbox, &arguments, &[]);
        assert!(next.status.success(), "killed before command {at}: {}{}", printed(&killed), printed(&next));
        let differ = differing(&tree(&sandbox), &wanted);
        assert!(differ.is_empty(), "killed before command {at}: {}\n{}", printed(&killed), differ.join("\n"));
        killed.status.signal() == Some(9)
    };
    let tried = in_parallel(|at| finished(at + 1));
    assert!(tried > 30, "only {tried} commands");
}

/// Does something with 0, 1, 2 and so on until it answers no, on some threads; returns how often it answered yes.
fn in_parallel(work: impl Fn(usize) -> bool + Sync) -> usize {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while work(next.fetch_add(1, Ordering::Relaxed)) {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner()
}

/// B-02: a run that was killed between the new programs and the daemon of the build before leaves that to the next one.
#[test]
fn b_02_a_daemon_of_the_build_before_is_restarted_by_the_run_after_a_killed_one() {
    let sandbox = sandbox();
    assert!(bootstrap(&sandbox, &[], &[]).status.success());
    let built = sandbox.root().join("target/release/ctxnode");
    let newer = fs::read_to_string(&built).expect("own file").replace("1.4.0", "1.5.0");
    fs::write(&built, newer).expect("own file");
    // Platform, toolchain, build, and three programs.
    killed_after(&sandbox, &[], 6);
    let next = bootstrap(&sandbox, &[], &[]);
    let text = printed(&next);
    assert!(
        next.status.success() && text.contains("/ctxnode is current") && text.contains("✓ Daemon: started"),
        "{text}"
    );
    let third = printed(&bootstrap(&sandbox, &[], &[]));
    assert!(third.contains("✓ Daemon: running"), "{third}");
}

/// B-02: what a killed run leaves behind of a copy or of a key goes; what belongs to a run that goes on stays.
#[test]
fn b_02_halves_of_a_killed_run_are_cleared_away() {
    let sandbox = with_keys();
    let (bin, ssh) = (sandbox.home().join(".local/bin"), sandbox.home().join(".ssh"));
    for folder in [&bin, &ssh] {
        fs::create_dir_all(folder).expect("own folder");
    }
    let mut gone = sandbox.command("true").spawn().expect("it starts");
    let gone_id = gone.id();
    gone.wait().expect("it was started here");
    let own_id = std::process::id();
    let write = |path: &Path, text: &str| fs::write(path, text).expect("own file");
    for id in [gone_id, own_id] {
        write(&bin.join(format!(".ctxnode.new.{id}")), "half");
    }
    // Killed after the first of two halves was in its place.
    write(&ssh.join("id_ed25519"), "private ours");
    write(&ssh.join(format!(".id_ed25519.new.{gone_id}.pub")), "ssh-ed25519 ours user@host\n");
    let done = bootstrap(&sandbox, &[], &[]);
    assert!(done.status.success(), "{}", printed(&done));
    assert!(
        !bin.join(format!(".ctxnode.new.{gone_id}")).exists() && bin.join(format!(".ctxnode.new.{own_id}")).exists()
    );
    assert_eq!(fs::read(ssh.join("id_ed25519.pub")).expect("own file"), b"ssh-ed25519 ours user@host\n");
    assert_eq!(fs::read_dir(&ssh).expect("own folder").count(), 2);
}

/// B-04: a key that somebody put there after a run was killed does not get the public half of ours.
#[test]
fn b_04_a_key_of_somebodys_own_gets_no_half_of_ours() {
    let sandbox = with_keys();
    let ssh = sandbox.home().join(".ssh");
    fs::create_dir_all(&ssh).expect("own folder");
    let mut gone = sandbox.command("true").spawn().expect("it starts");
    let half = ssh.join(format!(".id_ed25519.new.{}", gone.id()));
    gone.wait().expect("it was started here");
    for (path, text) in [
        (ssh.join("id_ed25519"), "private theirs"),
        (half.clone(), "private ours"),
        (half.with_extension(format!("{}.pub", gone.id())), "ssh-ed25519 ours user@host"),
    ] {
        fs::write(path, text).expect("own file");
    }
    let done = bootstrap(&sandbox, &[], &[]);
    assert!(done.status.success(), "{}", printed(&done));
    assert_eq!(fs::read(ssh.join("id_ed25519")).expect("own file"), b"private theirs");
    assert_eq!(fs::read_dir(&ssh).expect("own folder").count(), 1, "the halves are gone, and no other is there");
}

/// B-04: the same when it appears while ours is made.
#[test]
fn b_04_a_key_that_appears_while_ours_is_made_stays() {
    let sandbox = sandbox();
    sandbox.fake_program("ssh-keygen", &format!("{KEYGEN}\necho private theirs >\"$HOME/.ssh/id_ed25519\"\n"));
    let done = bootstrap(&sandbox, &[], &[]);
    assert!(done.status.success(), "{}", printed(&done));
    let ssh = sandbox.home().join(".ssh");
    assert_eq!(fs::read(ssh.join("id_ed25519")).expect("own file"), b"private theirs\n");
    assert_eq!(fs::read_dir(&ssh).expect("own folder").count(), 1);
}
