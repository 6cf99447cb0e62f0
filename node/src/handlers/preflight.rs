//! The checks before work: each exercised, each with what to do.

mod github;

use std::time::Duration;

use ctxnode_api::fleet::{PeerState, PeerView};
use ctxnode_api::node::{CheckRow, CheckState, Empty, PreflightReply};
use ctxnode_api::{Right, version};
use ctxnode_model::rules::limits::DAY_MS;
use ctxnode_model::rules::repo::{VentureMatch, match_venture};

use super::{node, start, ventures};
use crate::app::{Answer, Cx, Handled};
use crate::caller::effective;

/// How long the installed binary may take to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(2);
/// A backup older than this is worth a word.
const BACKUP_OLD_MS: i64 = 48 * 3_600_000;
/// A clock that differs by more seconds makes ages wrong.
const SKEW_S: u64 = 300;
/// Above this share of the disk in use, writes are near to fail.
const DISK_PERCENT: u64 = 90;

pub(crate) async fn preflight(cx: &Cx, _: Empty) -> Handled {
    let (build, login, place) = tokio::join!(build(), github::login(), place(cx));
    let known = super::fleet::views(&cx.app, cx.now());
    let peers = [peers(cx, &known), clocks(&known)];
    let checks = [store(cx), right(cx), build, login, place].into_iter().chain(peers).chain([disk(cx), backup(cx)]);
    let checks: Vec<CheckRow> = checks.collect();
    let failed = checks.iter().any(|check| check.critical && check.state == CheckState::Fail);
    let summary = if failed {
        "critical checks failed"
    } else if checks.iter().any(|check| check.state != CheckState::Pass) {
        "passed with warnings"
    } else {
        "all checks passed"
    };
    Answer::ok(PreflightReply { summary: summary.to_owned(), checks })
}

fn check(name: &str, state: CheckState, message: impl Into<String>, fix: Option<&str>) -> CheckRow {
    let fix = fix.filter(|_| state != CheckState::Pass).map(str::to_owned);
    CheckRow { name: name.to_owned(), state, critical: false, message: message.into(), fix }
}

fn store(cx: &Cx) -> CheckRow {
    let read = cx.app.store.read().and_then(|snapshot| snapshot.reader().journal_end());
    let row = match read {
        Ok(journal) => check("daemon and store", CheckState::Pass, format!("open, {journal} journal rows"), None),
        Err(error) => check("daemon and store", CheckState::Fail, error.to_string(), Some("run `ctxnode doctor`")),
    };
    CheckRow { critical: true, ..row }
}

fn right(cx: &Cx) -> CheckRow {
    let role = cx.app.store.authority().role(&cx.app.store.node());
    let has = effective(cx.caller.right, role);
    let state = if has >= Right::Writer { CheckState::Pass } else { CheckState::Fail };
    let fix = Some("ask an admin for the writer right");
    CheckRow { critical: true, ..check("right", state, has.name(), fix) }
}

async fn build() -> CheckRow {
    let running = version::BUILD;
    let installed = async {
        let path = std::env::current_exe().ok()?;
        let command = tokio::process::Command::new(path).arg("--version").kill_on_drop(true).output();
        let output = tokio::time::timeout(VERSION_LIMIT, command).await.ok()?.ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match installed.await {
        Some(text) if text.contains(running) => check("build", CheckState::Pass, running, None),
        Some(text) => {
            let message = format!("running {running}, installed {text}");
            check("build", CheckState::Warn, message, Some("run `ctxnode daemon handover`"))
        }
        None => {
            check("build", CheckState::Warn, format!("running {running}; the installed binary does not answer"), None)
        }
    }
}

async fn place(cx: &Cx) -> CheckRow {
    let Some(checkout) = start::checkout_of(cx, None).await else {
        return check(
            "repo and venture",
            CheckState::Warn,
            "not in a git checkout",
            Some("change into the venture's checkout"),
        );
    };
    let known = cx.app.store.read().ok().and_then(|snapshot| ventures::all_living(snapshot.reader()).ok());
    let remotes: Vec<&str> = checkout.remotes.iter().map(String::as_str).collect();
    match match_venture(&remotes, known.iter().flatten().map(|venture| &venture.value)) {
        VentureMatch::Found { code, .. } => {
            check("repo and venture", CheckState::Pass, format!("{} of {code}", checkout.repo), None)
        }
        VentureMatch::Ambiguous { codes, .. } => {
            let message = format!("{} may belong to {}", checkout.repo, codes.join(", "));
            check(
                "repo and venture",
                CheckState::Warn,
                message,
                Some("list the repo in its venture: `ctxnode venture set`"),
            )
        }
        VentureMatch::Unknown { .. } => {
            let message = format!("{} belongs to no venture", checkout.repo);
            check(
                "repo and venture",
                CheckState::Warn,
                message,
                Some("list the repo in its venture: `ctxnode venture set`"),
            )
        }
    }
}

/// A peer that was not heard for a day may hold what this node does not know.
fn peers(cx: &Cx, all: &[PeerView]) -> CheckRow {
    let now = cx.now();
    if all.is_empty() {
        return check("peers", CheckState::Pass, "single machine", None);
    }
    let is_old = |peer: &&PeerView| peer.last_seen.as_ref().is_none_or(|at| now.since(at.0) > DAY_MS);
    let members: Vec<&PeerView> = all.iter().filter(|peer| peer.state != PeerState::Revoked).collect();
    let connected = members.iter().filter(|peer| peer.state == PeerState::Connected).count();
    let lost = members.iter().filter(|peer| peer.state == PeerState::Unreachable).filter(|peer| is_old(peer)).count();
    let lag = members.iter().filter_map(|peer| peer.we_lack).max().unwrap_or(0);
    let behind = if lag > 0 { format!(", {lag} entries on their way") } else { String::new() };
    let message = format!("{connected} of {} connected{behind}", members.len());
    let state = if lost > 0 { CheckState::Warn } else { CheckState::Pass };
    check("peers", state, message, Some("`ctxnode peers` shows which were not heard for a day"))
}

/// What was first is never told by clocks; ages and what is stale are.
fn clocks(all: &[PeerView]) -> CheckRow {
    let off = all.iter().filter_map(|peer| {
        let skew = peer.clock_skew_seconds.filter(|skew| skew.unsigned_abs() > SKEW_S)?;
        let side = if skew > 0 { "ahead" } else { "behind" };
        Some(format!("{} is {} min {side}", peer.name, skew.unsigned_abs() / 60))
    });
    let off: Vec<String> = off.collect();
    if off.is_empty() {
        return check("clocks", CheckState::Pass, "none is known to be off", None);
    }
    check("clocks", CheckState::Warn, off.join(", "), Some("set the clock of the machine that is wrong"))
}

fn disk(cx: &Cx) -> CheckRow {
    let stats = rustix::fs::statvfs(&cx.app.config.paths.data_dir);
    match stats {
        Ok(stats) if stats.f_blocks > 0 => {
            let used = 100 - stats.f_bavail * 100 / stats.f_blocks;
            let state = if used > DISK_PERCENT { CheckState::Warn } else { CheckState::Pass };
            check("disk", state, format!("{used} % in use"), Some("free space; a full disk refuses writes"))
        }
        _ => check("disk", CheckState::Warn, "the free space is not known", None),
    }
}

fn backup(cx: &Cx) -> CheckRow {
    let now = cx.now();
    match node::last_backup(&cx.app) {
        Some(at) if now.since(at) <= BACKUP_OLD_MS => {
            check("backup", CheckState::Pass, format!("last one: {}", at.age(now)), None)
        }
        Some(at) => {
            check("backup", CheckState::Warn, format!("last one: {}", at.age(now)), Some("run `ctxnode backup`"))
        }
        None => check("backup", CheckState::Warn, "there is none yet", Some("run `ctxnode backup`")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_clock_that_is_off_by_more_than_five_minutes_is_named() {
        let peer = |name: &str, skew: Option<i64>| -> PeerView {
            let peer = json!({
                "node": "b", "name": name, "role": "writer", "state": "connected", "path": null, "address": null,
                "rtt_ms": null, "we_lack": null, "they_lack": null, "unacknowledged_seconds": null, "last_seen": null,
                "last_seen_age": null, "build": null, "clock_skew_seconds": skew, "active_sessions": null,
                "problem": null, "fix": null, "addresses": [],
            });
            serde_json::from_value(peer).unwrap()
        };
        let fine = clocks(&[peer("mac", None), peer("server", Some(-300))]);
        assert_eq!((fine.state, fine.fix), (CheckState::Pass, None));
        let off = clocks(&[peer("mac", Some(301)), peer("server", Some(-7_200)), peer("laptop", None)]);
        assert_eq!(off.message, "mac is 5 min ahead, server is 120 min behind");
        assert!(off.state == CheckState::Warn && off.fix.is_some());
    }
}
