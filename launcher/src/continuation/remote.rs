//! Going on with a session on another machine: asked over ssh whether it can, then started there in tmux.
//!
//! The first connection asks and changes nothing. Only when the other machine can do it, the session here ends and its
//! handoff is on its way; the second connection is the terminal.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ctxnode_api::operations::MachineView;
use ctxnode_api::{Call, List};
use ctxnode_model::rules::text::near;
use serde_json::{Value, json};

use super::{Asked, Work, ask, gather, successor};
use crate::agents::Agent;
use crate::checkout::{Git, commits_nowhere_else};
use crate::execute::Exit;
use crate::plan::quoted;
use crate::program::{Done, Program, RunError};
use crate::refusal::{Refusal, Step};
use crate::worktree;
use crate::world::World;

/// How long the other machine may take to say whether it can: a connection, its daemon's start, a fetch.
const PROBE: Duration = Duration::from_secs(60);
/// What ssh ends with when there is no connection.
const NO_CONNECTION: i32 = 255;
/// What a shell ends with when there is no such program.
const NO_PROGRAM: [i32; 2] = [126, 127];

/// A machine that can be reached.
struct Target {
    machine: String,
    user: String,
    ctxnode: String,
}

impl Target {
    /// The words for ssh: the command runs in a login shell, whose PATH has what its user installed. sshd sets SHELL, and
    /// every shell knows this line.
    fn ssh(&self, address: &str, flags: &[&str], command: &str) -> Vec<OsString> {
        let line = format!("exec $SHELL -lc {}", quoted(command));
        let mut words: Vec<OsString> = flags.iter().map(Into::into).collect();
        words.extend(["-o".into(), "ConnectTimeout=5".into(), "--".into()]);
        words.extend([format!("{}@{address}", self.user).into(), line.into()]);
        words
    }

    fn command(&self, what: &str, asked: &Asked, more: &[&str]) -> String {
        let mut words = vec![self.ctxnode.clone(), "continue".to_owned(), what.to_owned(), "--tmux".to_owned()];
        words.extend(asked.with.iter().flat_map(|agent| ["--with".to_owned(), agent.name().to_owned()]));
        words.extend(more.iter().map(|word| (*word).to_owned()));
        if !asked.arguments.is_empty() {
            words.push("--".to_owned());
            words.extend(asked.arguments.iter().map(|word| word.to_string_lossy().into_owned()));
        }
        words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// Goes on with the work on another machine.
pub(super) async fn run(world: &World, asked: &Asked, name: &str, mut work: Work) -> Result<Exit, Refusal> {
    let (target, addresses) = find(&ask(world, &Call::new("machine.list", json!({}))).await?, name)?;
    // What failed here would fail there: it is one and the same account.
    let other = work.session.failed.as_ref().map(|_| successor(&work.session, None, &Agent::ALL)).transpose()?;
    let asked = &Asked { with: asked.with.or(other), ..asked.clone() };
    if !asked.yes {
        check_pushed(world, &work).await?;
    }
    let what = if work.named { work.handoff.as_ref().map(|handoff| handoff.row.id.clone()) } else { None };
    let what = what.unwrap_or_else(|| work.session.id.clone());
    // What the other machine is asked about should be there by now.
    let _: Value = ask(world, &Call::new("peer.wake", json!({}))).await.unwrap_or_default();
    let probe = target.command(&what, asked, &["--dry-run", "--json"]);
    let (address, plan) = probe_all(&target, &addresses, &probe).await?;
    if asked.dry_run {
        let plan = json!({ "machine": target.machine, "address": address, "plan": plan });
        let text =
            format!("on {} ({address}): {}", target.machine, plan["plan"]["command"].as_str().unwrap_or_default());
        world.screen.print(&if asked.json { format!("{plan:#}") } else { text });
        return Ok(0);
    }
    gather::settle(world, asked, &mut work).await?;
    // The handoff that was written a moment ago.
    let what = match &work.handoff {
        Some(handoff) => handoff.row.id.clone(),
        None => what,
    };
    let _: Value = ask(world, &Call::new("peer.wake", json!({}))).await.unwrap_or_default();
    world.screen.say(&format!("continue: {what} goes on at {} ({address})", target.machine));
    let flags: &[&str] = if world.screen.can_ask { &["-t"] } else { &["-T"] };
    let words = target.ssh(&address, flags, &target.command(&what, asked, &[]));
    let mut ssh = tokio::process::Command::new("ssh");
    let ended = ssh.args(words).stdin(Stdio::inherit()).status().await.map_err(no_ssh)?;
    let code = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}

/// Finds the machine, and what is missing in its record.
fn find(all: &List<MachineView>, name: &str) -> Result<(Target, Vec<String>), Refusal> {
    let found = all.items.iter().find(|machine| machine.hostname.eq_ignore_ascii_case(name) || machine.id == name);
    let Some(machine) = found else {
        let others = all.items.iter().filter(|machine| !machine.this_machine);
        let known: Vec<&str> = others.map(|machine| machine.hostname.as_str()).collect();
        let near = near(&name.to_lowercase(), &known);
        let known = known.into_iter().map(str::to_owned).collect();
        return Err(Refusal::UnknownMachine { name: name.to_owned(), near, known });
    };
    if machine.this_machine {
        return Err(Refusal::ThisMachine(machine.hostname.clone()));
    }
    // What stands in a record becomes a word of a command line here: it must be a name, and no option.
    let plain = |text: &str| {
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '%');
        !text.is_empty() && !text.starts_with('-') && text.chars().all(inside)
    };
    let addresses: Vec<String> = machine.addresses.iter().filter(|address| plain(address)).cloned().collect();
    let mut what = Vec::new();
    what.extend((!plain(&machine.user)).then_some("a login user"));
    what.extend(addresses.is_empty().then_some("an address"));
    let name = machine.hostname.clone();
    if !what.is_empty() {
        return Err(Refusal::MachineLacks { machine: name, what });
    }
    // A machine that was registered by hand has not told where its ctxnode is: its login shell finds it.
    let ctxnode = machine.ctxnode_path.clone().unwrap_or_else(|| "ctxnode".to_owned());
    Ok((Target { machine: name, user: machine.user.clone(), ctxnode }, addresses))
}

/// The other machine gets the branch from the remote: what is only here would stay here.
async fn check_pushed(world: &World, work: &Work) -> Result<(), Refusal> {
    let Some(branch) = work.branch() else { return Ok(()) };
    // Without a checkout here there is nothing that could be left behind.
    let Ok(checkout) = gather::checkout(world, &work.session) else { return Ok(()) };
    let git = Git::at(&checkout);
    if !worktree::exists(&git, &branch).await {
        return Ok(());
    }
    let tree = worktree::list(&git).await?.into_iter().find(|tree| tree.branch.as_deref() == Some(&branch));
    let path = tree.map_or_else(|| checkout.clone(), |tree| tree.path);
    let (dirty, unpushed) = left_behind(&path, &branch).await?;
    if dirty == 0 && unpushed == 0 {
        return Ok(());
    }
    Err(Refusal::NotPushed { branch, path, unpushed, dirty })
}

async fn left_behind(path: &Path, branch: &str) -> Result<(usize, usize), Refusal> {
    let git = Git::at(path);
    let state = git.state().await?;
    if state.branch.as_deref() != Some(branch) {
        let count = git.run(["rev-list", "--count", branch, "--not", "--remotes"]).await?;
        return Ok((0, count.parse().unwrap_or(usize::MAX)));
    }
    let unpushed = commits_nowhere_else(&git).await?;
    // A branch without commits of its own must be on the remote too, or the other machine does not find it.
    let unpushed = if worktree::is_on_remote(&git, branch).await { unpushed } else { unpushed.max(1) };
    Ok((state.dirty, unpushed))
}

/// Asks one address after the other; returns the first that answers, and the plan of the machine there.
async fn probe_all(target: &Target, addresses: &[String], command: &str) -> Result<(String, Value), Refusal> {
    let mut tried = Vec::new();
    for address in addresses {
        let words = target.ssh(address, &["-T", "-o", "BatchMode=yes"], command);
        let done = match Program::new("ssh", words).run(PROBE).await {
            Ok(done) => done,
            Err(RunError::Spawn { source, .. }) => return Err(no_ssh(source)),
            Err(error) => {
                tried.push(format!("{address}: {error}"));
                continue;
            }
        };
        if done.status.code() == Some(NO_CONNECTION) {
            let errors = String::from_utf8_lossy(&done.errors).into_owned();
            let reason =
                errors.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no connection").trim().to_owned();
            tried.push(format!("{address}: {reason}"));
            continue;
        }
        return heard(target, &done).map(|plan| (address.clone(), plan));
    }
    Err(Refusal::Unreached { machine: target.machine.clone(), tried })
}

/// What the other machine said about the plan.
fn heard(target: &Target, done: &Done) -> Result<Value, Refusal> {
    // A profile may greet first; the answer is the last object.
    let text = String::from_utf8_lossy(&done.output).into_owned();
    let object = text.find('{').and_then(|at| serde_json::from_str::<Value>(&text[at..]).ok());
    let value = object.unwrap_or_default();
    if done.status.success() && value.is_object() {
        return Ok(value);
    }
    let said = |key: &str| value[key].as_str().map(str::to_owned);
    let (step, why, fix) = match (said("step").or_else(|| said("code")), said("message")) {
        (Some(step), Some(why)) => (step, why, said("hint").unwrap_or_else(|| "run `ctxnode doctor` there".to_owned())),
        _ if done.status.code().is_some_and(|code| NO_PROGRAM.contains(&code)) => (
            "program".to_owned(),
            format!("there is no ctxnode at {}", target.ctxnode),
            "run ./bootstrap.sh there".to_owned(),
        ),
        _ => {
            let errors = String::from_utf8_lossy(&done.errors).into_owned();
            let line = errors.lines().next().unwrap_or("no answer").to_owned();
            ("ssh".to_owned(), line, "run `ctxnode doctor` there; its ctxnode may be older".to_owned())
        }
    };
    Err(Refusal::Elsewhere { machine: target.machine.clone(), step, why, fix })
}

fn no_ssh(source: std::io::Error) -> Refusal {
    Refusal::Run { step: Step::Machine, program: "ssh".into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machines() -> List<MachineView> {
        let machine = |name: &str, more: Value| {
            let mut machine = json!({ "id": format!("mach_{name}"), "hostname": name, "os": "linux", "arch": "x",
                "user": "ada", "addresses": ["100.64.0.2", "-oProxyCommand=x"], "ssh_public_keys": [], "node_key": null,
                "role": "dev", "version": null, "commit": null, "ctxnode_path": "/opt/a b/ctxnode", "status": "active",
                "registered_at": "2026-11-26T10:00:00Z", "this_machine": false });
            machine.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(machine).unwrap()
        };
        List::all(vec![
            machine("mac", json!({ "this_machine": true })),
            machine("office", json!({})),
            machine("phone", json!({ "addresses": [], "ctxnode_path": null, "user": "" })),
        ])
    }

    #[test]
    fn a_machine_is_found_by_name_and_what_its_record_lacks_is_named() {
        let (target, addresses) = find(&machines(), "OFFICE").unwrap();
        assert_eq!((target.user.as_str(), addresses), ("ada", vec!["100.64.0.2".to_owned()]), "no option for ssh");
        let why = |name: &str| find(&machines(), name).err().unwrap().why();
        assert_eq!(why("mac"), "`mac` is this machine");
        assert_eq!(why("ofice"), "machine `ofice` is not known; did you mean `office`?; known are: office, phone");
        assert_eq!(why("phone"), "the record of phone lacks: a login user, an address");
    }

    #[test]
    fn the_command_survives_two_shells() {
        let (target, _) = find(&machines(), "office").unwrap();
        let asked = Asked { arguments: vec!["a;b $(c)".into()], ..Asked::default() };
        let command = target.command("ho_1", &asked, &["--dry-run"]);
        assert_eq!(command, "'/opt/a b/ctxnode' continue ho_1 --tmux --dry-run -- 'a;b $(c)'");
        let words = target.ssh("100.64.0.2", &["-t"], &command);
        let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
        assert_eq!(words[..5], ["-t", "-o", "ConnectTimeout=5", "--", "ada@100.64.0.2"]);
        assert_eq!(
            words[5],
            r#"exec $SHELL -lc ''\''/opt/a b/ctxnode'\'' continue ho_1 --tmux --dry-run -- '\''a;b $(c)'\'''"#
        );
    }
}
