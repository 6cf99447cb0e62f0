//! `ctxnode doctor`: what is wrong with this installation, and what to do. `--fix` does what can only make things
//! better: narrower permissions, a daemon that runs, locks of processes that are gone.

mod work;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ctxnode_api::fleet::PeerState;
use ctxnode_api::node::{Attention, CheckRow, CheckState, NodeReply};
use ctxnode_api::{Call, ClientError, ErrorBody, ErrorCode, version};
use ctxnode_store::{Clock as _, NewestBackup, SystemClock, newest_backup};
use serde_json::json;
use tokio::time::timeout;

use super::failure::{Exit, Failure};
use super::screen::Form;
use super::world::World;
use crate::daemon::lock::{Holder, Lock};
use crate::daemon::spool::waiting as spooled;

/// Above this share of the disk in use there may soon be no room for a write.
const FULL_PERCENT: u64 = 90;
/// A backup older than this may lose two days.
const BACKUP_AGE: Duration = Duration::from_secs(48 * 3_600);
/// How long a healthy daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How many journal rows the index may be behind without anybody noticing.
const BEHIND: u64 = 500;

pub(super) fn command() -> Command {
    Command::new("doctor")
        .about("Finds what is wrong with this installation and says what to do")
        .arg(Arg::new("fix").long("fix").action(ArgAction::SetTrue).help("Repairs what can be repaired without a risk"))
}

pub(super) async fn run(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let fix = matches.get_flag("fix");
    let mut checks = vec![replica(world)];
    if checks.iter().all(|check| check.state == CheckState::Pass) {
        checks.extend(permissions(world, fix));
        checks.push(disk(world));
        checks.extend(daemon(world, fix).await);
        checks.extend(work::sessions(world).await);
    }
    checks.extend(work::worktrees(world, fix).await);
    let is_down = checks.iter().any(|check| check.name == "daemon" && check.state == CheckState::Fail);
    checks.push(spool(spooled(&world.config.paths.state_dir, SystemClock.now()), is_down));
    checks.extend(backup_file(world));
    checks.extend(settings(world));
    checks.extend(super::links::checks(world, fix));
    checks.extend(super::setup::checks(world, fix).await);
    checks.extend(super::tmux::checks(world).await);
    let worst = checks.iter().map(|check| check.state).max().unwrap_or(CheckState::Pass);
    let summary = match worst {
        CheckState::Pass => "all checks passed",
        CheckState::Warn => "passed with warnings",
        CheckState::Fail => "checks failed",
    };
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!({ "summary": summary, "checks": checks }))?,
        Form::People => {
            let lines: Vec<String> = checks.iter().map(line).collect();
            world.screen.print(&format!("{}\n\n{summary}", lines.join("\n")))?;
        }
    }
    Ok(match worst {
        CheckState::Pass => Exit::Done,
        CheckState::Warn => Exit::Warned,
        CheckState::Fail => Exit::Failed,
    })
}

fn line(check: &CheckRow) -> String {
    let mark = match check.state {
        CheckState::Pass => "✓",
        CheckState::Warn => "!",
        CheckState::Fail => "✗",
    };
    let fix = check.fix.as_ref().map(|fix| format!("\n  {fix}")).unwrap_or_default();
    super::screen::body(&format!("{mark} {}: {}{fix}", check.name, check.message))
}

pub(super) fn check(name: &str, state: CheckState, message: impl Into<String>, fix: Option<&str>) -> CheckRow {
    let fix = fix.filter(|_| state != CheckState::Pass).map(str::to_owned);
    CheckRow { name: name.to_owned(), state, critical: state == CheckState::Fail, message: message.into(), fix }
}

fn pass_if(good: bool, otherwise: CheckState) -> CheckState {
    if good { CheckState::Pass } else { otherwise }
}

fn replica(world: &World) -> CheckRow {
    let store = world.files().store;
    let there = store.exists();
    let message = if there { store.display().to_string() } else { format!("none at {}", store.display()) };
    check("replica", pass_if(there, CheckState::Fail), message, Some("run `ctxnode init`, or `ctxnode restore BACKUP`"))
}

/// Nobody else on the machine may read the replica, its key or the socket.
fn permissions(world: &World, fix: bool) -> Vec<CheckRow> {
    let files = world.files();
    let wanted = [
        ("data directory", world.config.paths.data_dir.clone(), 0o700),
        ("key file", files.key, 0o600),
        ("socket", world.config.paths.socket.clone(), 0o600),
        ("MCP socket", world.config.paths.mcp_socket(), 0o600),
    ];
    let present = wanted.into_iter().filter(|(_, path, _)| path.exists());
    present.map(|(name, path, mode)| permission(name, &path, mode, fix)).collect()
}

fn permission(name: &str, path: &Path, mode: u32, fix: bool) -> CheckRow {
    let read = || std::fs::metadata(path).map_or(0o777, |found| found.permissions().mode() & 0o777);
    if fix && read() & !mode != 0 {
        // What could not be repaired is seen by reading it again.
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    }
    let found = read();
    let good = found & !mode == 0;
    let fix = format!("chmod {mode:o} '{}', or `ctxnode doctor --fix`", path.display());
    check(name, pass_if(good, CheckState::Fail), format!("{} has mode {found:o}", path.display()), Some(&fix))
}

fn disk(world: &World) -> CheckRow {
    let Ok(stat) = rustix::fs::statvfs(&world.config.paths.data_dir) else {
        return check("disk", CheckState::Warn, "cannot be read", Some("look at it with `df`"));
    };
    let used = 100 - stat.f_bavail.saturating_mul(100).checked_div(stat.f_blocks.max(1)).unwrap_or(0);
    check("disk", pass_if(used <= FULL_PERCENT, CheckState::Warn), format!("{used} % in use"), Some("free some space"))
}

async fn daemon(world: &World, fix: bool) -> Vec<CheckRow> {
    let files = world.files();
    let mut answered = node(world).await;
    if matches!(answered, Err(Silence::NoAnswer)) && fix {
        // Whether it helped is seen by asking again.
        let _ = world.start().await;
        answered = node(world).await;
    }
    let holder = Lock::holder(&files.lock);
    let node = match answered {
        Ok(node) => node,
        Err(silence) => return vec![silent(silence, holder.as_ref(), &world.config.paths.log_dir())],
    };
    let pid = holder.map(|holder| holder.pid);
    let same = pid == Some(node.pid);
    let message = match pid {
        Some(pid) if !same => format!("pid {} answers, pid {pid} holds the store", node.pid),
        _ => format!("pid {}, {} sessions alive", node.pid, node.active_sessions),
    };
    let mut checks = vec![check("daemon", pass_if(same, CheckState::Fail), message, Some("stop the older one"))];
    let current = node.build == version::BUILD;
    let builds =
        if current { node.build.clone() } else { format!("runs {}, installed is {}", node.build, version::BUILD) };
    checks.push(check("build", pass_if(current, CheckState::Warn), builds, Some("run `ctxnode daemon handover`")));
    checks.extend(state(&node));
    checks.extend(fleet(&node));
    checks
}

/// The other nodes, each with why it is not reached and what to do, and what else the daemon found.
fn fleet(node: &NodeReply) -> Vec<CheckRow> {
    let about = |name: &str| node.attention.iter().filter(move |found| found.about == name).collect::<Vec<_>>();
    let row = |name: &str, found: &Attention| check(name, found.state, found.message.clone(), found.fix.as_deref());
    // What is quarantined or waits has a row of its own.
    let has_row = |message: &str| message.contains("kept and not applied") || message.contains("wait for changes");
    let own = about("this node").into_iter().filter(|found| !has_row(&found.message));
    let mut checks: Vec<CheckRow> = own.map(|found| row("this node", found)).collect();
    for peer in node.peers.iter().filter(|peer| peer.state != PeerState::Revoked) {
        let name = format!("peer {}", peer.name);
        let found = about(&peer.name);
        if found.is_empty() {
            let path = peer.path.as_deref().map(|path| format!(", {path}")).unwrap_or_default();
            let rtt = peer.rtt_ms.map(|rtt| format!(", {rtt} ms")).unwrap_or_default();
            let message = match peer.problem.as_deref() {
                Some(problem) => problem.to_owned(),
                None if peer.state == PeerState::ViaOthers => "reached through others".to_owned(),
                None => format!("connected{path}{rtt}"),
            };
            checks.push(check(&name, CheckState::Pass, message, None));
        }
        checks.extend(found.into_iter().map(|found| row(&name, found)));
    }
    checks
}

/// Why the daemon did not say how it is.
#[derive(Debug)]
enum Silence {
    /// It answered, and said no.
    Refused(Box<ErrorBody>),
    /// What it answered is not understood.
    Unreadable,
    /// Nobody answered.
    NoAnswer,
}

async fn node(world: &World) -> Result<NodeReply, Silence> {
    let mut client = world.client_of_running().map_err(|_| Silence::NoAnswer)?;
    match timeout(ANSWER, client.call(&Call::new("node", json!({})))).await {
        Ok(Ok(answer)) => serde_json::from_value(answer.body).map_err(|_| Silence::Unreadable),
        Ok(Err(ClientError::Refused(body))) => Err(Silence::Refused(body)),
        Ok(Err(ClientError::Unreadable(_))) => Err(Silence::Unreadable),
        Ok(Err(_)) | Err(_) => Err(Silence::NoAnswer),
    }
}

/// A daemon that answers is healthy enough to be asked again; only one that holds the store and is silent is to be ended.
fn silent(silence: Silence, holder: Option<&Holder>, log_dir: &Path) -> CheckRow {
    let is_asked_too_often = matches!(&silence, Silence::Refused(body) if body.code == ErrorCode::RateLimited);
    let state = if is_asked_too_often { CheckState::Warn } else { CheckState::Fail };
    let (message, fix) = match (silence, holder) {
        (Silence::Refused(body), _) => {
            (format!("it answers, and refused: {}", body.message), body.hint.unwrap_or_else(|| "ask again".to_owned()))
        }
        (Silence::Unreadable, _) => (
            "it answers in a form that this version does not know".to_owned(),
            "run `ctxnode daemon handover`: it may be of another version".to_owned(),
        ),
        (Silence::NoAnswer, None) => ("not running".to_owned(), "run `ctxnode daemon start`".to_owned()),
        (Silence::NoAnswer, Some(holder)) if holder.socket.is_none() => (
            format!("pid {} opens the store and does not listen yet", holder.pid),
            format!("wait; its log is in {}", log_dir.display()),
        ),
        (Silence::NoAnswer, Some(holder)) => (
            format!("pid {} holds the store and does not answer", holder.pid),
            format!("kill {}; its log is in {}", holder.pid, log_dir.display()),
        ),
    };
    check("daemon", state, message, Some(&fix))
}

fn state(node: &NodeReply) -> Vec<CheckRow> {
    let behind = node.journal.saturating_sub(node.search.watermark);
    let search = if node.search.enabled {
        let message = if behind == 0 { "up to date".to_owned() } else { format!("{behind} changes behind") };
        let fix = Some("wait; if it stays, run `ctxnode check --rebuild`");
        check("search", pass_if(behind <= BEHIND, CheckState::Warn), message, fix)
    } else {
        check("search", CheckState::Warn, "switched off", Some("set `[search] enabled = true`"))
    };
    let age = node.last_backup.map(|at| SystemClock.now().since(at.0));
    let recent = age.is_some_and(|age| u128::try_from(age).is_ok_and(|age| age <= BACKUP_AGE.as_millis()));
    let backup = match node.last_backup {
        Some(at) => format!("last one: {}", at.0.age(SystemClock.now())),
        None => "none yet".to_owned(),
    };
    let quarantined = format!("{} changes are kept and not applied", node.quarantined);
    vec![
        search,
        check("backup", pass_if(recent, CheckState::Warn), backup, Some("run `ctxnode backup`")),
        check(
            "quarantine",
            pass_if(node.quarantined == 0, CheckState::Warn),
            quarantined,
            Some("look at `ctxnode quarantine`"),
        ),
        check(
            "waiting",
            pass_if(node.waiting == 0, CheckState::Warn),
            format!("{} changes wait for changes that have not arrived", node.waiting),
            Some("look at `ctxnode quarantine --waiting`; while machines sync it may take a moment"),
        ),
    ]
}

/// A backup is needed when everything else failed; its damage is to be known before.
fn backup_file(world: &World) -> Option<CheckRow> {
    match newest_backup(&world.config.backup.dir) {
        NewestBackup::None => None,
        NewestBackup::Good(report) => {
            let age = SystemClock.now().since(report.at);
            let recent = u128::try_from(age).is_ok_and(|age| age <= BACKUP_AGE.as_millis());
            let message = format!("{}, {}, verified", report.path.display(), report.at.age(SystemClock.now()));
            let fix = Some("run `ctxnode backup`; the daemon takes one a day while it runs");
            Some(check("backup file", pass_if(recent, CheckState::Warn), message, fix))
        }
        NewestBackup::Damaged { path, why } => {
            let message = format!("{} is damaged: {why}", path.display());
            Some(check("backup file", CheckState::Warn, message, Some("run `ctxnode backup` for a good one")))
        }
    }
}

/// Events that hooks could not bring. The daemon takes them at its start and every minute.
fn spool((count, is_old): (usize, bool), daemon_is_down: bool) -> CheckRow {
    let fix = "run `ctxnode daemon start`; its log says what stands in the way";
    let message = match count {
        0 => "none waits".to_owned(),
        _ => format!("{count} events of agents wait for a daemon that takes them"),
    };
    let good = count == 0 || !(is_old || daemon_is_down);
    check("hook events", pass_if(good, CheckState::Warn), message, Some(fix))
}

fn settings(world: &World) -> Option<CheckRow> {
    let unknown = &world.config.unknown_variables;
    let message = format!("unknown variables: {}", unknown.join(", "));
    (!unknown.is_empty())
        .then(|| check("settings", CheckState::Warn, message, Some("`ctxnode config` shows the known ones")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_daemon_that_is_silent_is_to_be_ended() {
        let said = |silence: Silence, socket: Option<&str>| {
            let holder = Holder { pid: 7, started: 1, socket: socket.map(Into::into) };
            let row = silent(silence, Some(&holder), Path::new("/log"));
            assert_eq!(row.state, CheckState::Fail);
            format!("{} ({})", row.message, row.fix.unwrap_or_default())
        };
        let body = ErrorBody::new(ErrorCode::StorageFailed, "the disk is full").hint("free some space");
        let full = said(Silence::Refused(Box::new(body)), Some("/s"));
        assert!(
            full.contains("the disk is full") && full.contains("free some space") && !full.contains("kill"),
            "{full}"
        );
        let starts = said(Silence::NoAnswer, None);
        assert!(starts.contains("does not listen yet") && !starts.contains("kill"), "{starts}");
        assert!(!said(Silence::Unreadable, Some("/s")).contains("kill"));
        assert!(said(Silence::NoAnswer, Some("/s")).contains("kill 7"));
    }
}
