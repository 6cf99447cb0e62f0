//! What somebody should look at: one rule for `status`, `doctor` and scripts. Pure.

use ctxnode_api::Right;
use ctxnode_api::fleet::{AlertView, PeerReason, PeerState, PeerView};
use ctxnode_api::node::{Attention, CheckState, NodeReply, WaitingNode};
use ctxnode_model::Timestamp;

use super::conflicts;

/// What this node's own lines are about.
const HERE: &str = "this node";
/// A connected peer that lacks something for longer than this is slow, or takes nothing.
const BEHIND_S: u64 = 60;
/// How much of a key names a node.
const KEY_CHARS: usize = 8;
/// How many claims are named.
const CLASHES: usize = 5;
/// How many conflicts are named.
const CONFLICTS: usize = 3;

/// Returns what is the matter, the worst first.
pub(super) fn of(node: &NodeReply, now: Timestamp) -> Vec<Attention> {
    let mut found = own(node, now);
    found.extend(node.peers.iter().filter_map(peer));
    found.extend(node.peers.iter().filter_map(clock));
    found.sort_by_key(|attention| std::cmp::Reverse(attention.state));
    found
}

fn line(state: CheckState, about: &str, message: String, fix: Option<&str>) -> Attention {
    Attention { state, about: about.to_owned(), message, fix: fix.map(str::to_owned) }
}

fn own(node: &NodeReply, now: Timestamp) -> Vec<Attention> {
    let warn = |message: String, fix: Option<&str>| line(CheckState::Warn, HERE, message, fix);
    let mut found = Vec::new();
    let was_revoked = node.peers.iter().any(|peer| peer.reason == Some(PeerReason::Revoked));
    if was_revoked || node.role == Right::None {
        let message =
            if was_revoked { "was taken out of the fleet" } else { "is no member of the fleet yet, or not any more" };
        let fix = Some(
            "ask an admin for a new invitation: `ctxnode invite` there, `ctxnode join CODE` here, which keeps this replica",
        );
        found.push(line(CheckState::Fail, HERE, message.to_owned(), fix));
    }
    if let Some(problem) = &node.listening_problem {
        let fix = Some("free the port, or set another `[sync] port`");
        found.push(line(CheckState::Fail, HERE, format!("cannot listen for others: {problem}"), fix));
    }
    if node.quarantined > 0 {
        let message = format!("{} changes of others are kept and not applied", node.quarantined);
        found.push(warn(message, Some("look at `ctxnode quarantine`")));
    }
    // While a peer is known to have more, what is missing is on its way.
    if node.waiting > 0 && node.peers.iter().all(|peer| peer.we_lack.unwrap_or(0) == 0) {
        let message = format!("{} changes of others wait for changes that have not arrived", node.waiting);
        found.push(warn(message, Some("look at `ctxnode quarantine --waiting`")));
    }
    found.extend(node.clashes.iter().take(CLASHES).map(|clash| {
        let message = format!("{} {}: {} and {} both hold it", clash.kind, clash.key, clash.winner, clash.loser);
        warn(message, Some("the first of them keeps it; see `ctxnode claim list`"))
    }));
    let alert = |alert: &AlertView| {
        let age = alert.at.0.age(now);
        let when = if age.starts_with("just now") { age } else { format!("{age} ago") };
        let message = format!("{} ({when})", alert.text);
        warn(message, Some("`ctxnode fleet acknowledge` when you have read it"))
    };
    found.extend(node.alerts.iter().map(alert));
    if let Some(field) = node.field.as_ref().filter(|field| field.used_up) {
        let until = field.renews_at.map(|at| format!(" until {}", at.0.iso())).unwrap_or_default();
        let message = format!("the bytes of field mode are used up: nothing is sent or received{until}");
        found.push(warn(message, Some("`ctxnode field on --budget` sets more, `ctxnode field off` counts no more")));
    }
    if let Some(field) = node.field.as_ref().filter(|field| field.others_used_up && !field.used_up) {
        let until = field.renews_at.map(|at| format!(" until {}", at.0.iso())).unwrap_or_default();
        let message = format!(
            "other machines have used their share of the bytes of field mode: their rounds are not answered{until}"
        );
        found.push(warn(message, Some("this machine's own rounds go on; `ctxnode field on --budget` sets more")));
    }
    found.extend(conflicts(node));
    found.extend(node.waiting_nodes.iter().map(|waiting| waits(node, waiting)));
    found
}

/// A machine that was installed anew, or somebody who uses its name.
fn waits(node: &NodeReply, waiting: &WaitingNode) -> Attention {
    let old: String = waiting.known.chars().take(KEY_CHARS).collect();
    let message = format!("is not registered: a machine of its name is known with another key (node {old})");
    let fix = format!(
        "if it was installed anew, an admin types `ctxnode revoke {old}`, and it is that machine again; if it is another one, \
         give it another host name and restart its daemon"
    );
    let about = if waiting.node == node.node { HERE } else { waiting.name.as_str() };
    line(CheckState::Warn, about, message, Some(&fix))
}

/// What somebody has to choose: news or not, it stays until it is resolved.
fn conflicts(node: &NodeReply) -> Vec<Attention> {
    let warn = |message: String, fix: &str| line(CheckState::Warn, HERE, message, Some(fix));
    let named = node.unresolved.iter().take(CONFLICTS).map(|record| {
        let message = conflicts::said(&record.id, record.name.as_deref(), &record.fields);
        warn(message, &conflicts::fix(&record.id, &record.fields))
    });
    let mut found: Vec<Attention> = named.collect();
    let more = node.unresolved_count.saturating_sub(found.len() as u64);
    if more > 0 {
        let message = match more {
            1 => "1 more record has two values of a field".to_owned(),
            _ => format!("{more} more records have two values of a field"),
        };
        found.push(warn(message, "`ctxnode status --json` names the next ones"));
    }
    found
}

fn peer(peer: &PeerView) -> Option<Attention> {
    let warn = |message: String, fix: Option<&str>| Some(line(CheckState::Warn, &peer.name, message, fix));
    match (peer.state, peer.reason) {
        (PeerState::Revoked, _) | (_, Some(PeerReason::Away | PeerReason::Paused)) => None,
        (PeerState::Unreachable, _) => {
            let seen =
                peer.last_seen_age.as_ref().map_or_else(|| "never seen".to_owned(), |age| format!("last seen {age}"));
            let problem = peer.problem.as_deref().unwrap_or("not tried yet");
            let unsent = unsent(peer);
            warn(format!("unreachable ({seen}): {problem}{unsent}"), peer.fix.as_deref())
        }
        (PeerState::Connected | PeerState::ViaOthers, _) => {
            let seconds = peer.unacknowledged_seconds.filter(|seconds| *seconds > BEHIND_S)?;
            let lacks = peer.they_lack.or(peer.unsent).unwrap_or(0);
            let fix = Some("it may be slow, or out of disk: look at `ctxnode doctor` there");
            warn(format!("has lacked {lacks} entries for {} min", seconds / 60), fix)
        }
    }
}

/// What was written here and has not reached it, and for how long that is so.
fn unsent(peer: &PeerView) -> String {
    let entries = match peer.unsent {
        None | Some(0) => return String::new(),
        Some(1) => "1 entry".to_owned(),
        Some(count) => format!("{count} entries"),
    };
    let since =
        peer.unacknowledged_seconds.filter(|seconds| *seconds >= BEHIND_S).and_then(|age| i64::try_from(age).ok());
    match since {
        None => format!(", lacks {entries} of this node"),
        Some(seconds) => {
            format!(
                ", has lacked {entries} of this node for {}",
                Timestamp(0).age(Timestamp(seconds.saturating_mul(1_000)))
            )
        }
    }
}

fn clock(peer: &PeerView) -> Option<Attention> {
    let skew = peer.clock_skew_seconds?;
    let side = if skew > 0 { "ahead of" } else { "behind" };
    let message = format!("its clock is {} min {side} this machine's", skew.unsigned_abs() / 60);
    let fix = Some("set the clock of the one that is wrong; nothing is lost, but ages are odd");
    Some(line(CheckState::Warn, &peer.name, message, fix))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn view(state: &str, more: &Value) -> PeerView {
        let mut peer = json!({
            "node": "b", "name": "laptop", "role": "writer", "state": state, "path": null, "address": null,
            "rtt_ms": null, "we_lack": null, "they_lack": null, "unacknowledged_seconds": null, "last_seen": null,
            "last_seen_age": "3 h", "build": null, "clock_skew_seconds": null, "active_sessions": null,
            "problem": null, "fix": null, "addresses": [],
        });
        more.as_object().unwrap().iter().for_each(|(name, value)| peer[name] = value.clone());
        serde_json::from_value(peer).unwrap()
    }

    #[test]
    fn a_silent_peer_is_a_warning_and_one_in_field_mode_is_none() {
        let lost = peer(&view("unreachable", &json!({ "reason": "no_answer", "problem": "no answer", "unsent": 2 })));
        let lost = lost.unwrap();
        assert_eq!((lost.state, lost.about.as_str()), (CheckState::Warn, "laptop"));
        assert_eq!(lost.message, "unreachable (last seen 3 h): no answer, lacks 2 entries of this node");
        let old =
            json!({ "reason": "no_answer", "problem": "no answer", "unsent": 1, "unacknowledged_seconds": 7_300 });
        let old = peer(&view("unreachable", &old)).unwrap();
        assert_eq!(old.message, "unreachable (last seen 3 h): no answer, has lacked 1 entry of this node for 2 h");
        for reason in ["away", "paused"] {
            assert_eq!(peer(&view("unreachable", &json!({ "reason": reason }))), None);
        }
        assert_eq!(peer(&view("revoked", &json!({}))), None);
        assert_eq!(peer(&view("connected", &json!({ "they_lack": 3, "unacknowledged_seconds": 60 }))), None);
        let slow = peer(&view("connected", &json!({ "they_lack": 3, "unacknowledged_seconds": 125 }))).unwrap();
        assert_eq!(slow.message, "has lacked 3 entries for 2 min");
    }

    #[test]
    fn a_clock_that_is_off_is_said_with_its_direction() {
        assert_eq!(clock(&view("connected", &json!({}))), None);
        let ahead = clock(&view("connected", &json!({ "clock_skew_seconds": 600 }))).unwrap();
        let behind = clock(&view("connected", &json!({ "clock_skew_seconds": -600 }))).unwrap();
        assert!(ahead.message.contains("10 min ahead") && behind.message.contains("10 min behind"));
    }
}
