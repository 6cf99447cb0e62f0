//! `ctxnode status`: this node and every other one at a glance, once or as it changes.
//!
//! Not here: what is worth a look. The daemon decides that, so that every surface says the same.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ctxnode_api::fleet::{PeerReason, PeerState, PeerView};
use ctxnode_api::node::{Attention, CheckState, NodeReply};
use ctxnode_api::{Call, Client, ClientError};
use ctxnode_fleet::field::bytes_text;
use ctxnode_model::Timestamp;
use ctxnode_store::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::failure::{Exit, Failure};
use super::screen::{Form, Screen, body, facts, line, parts};
use super::world::World;

/// How often `--watch` looks: a third of what one caller may ask in a minute.
const LOOK: Duration = Duration::from_secs(2);
/// For whom lines are broken where there is no terminal.
const WIDTH: usize = 80;
/// Moves to the corner of a terminal and clears it.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Adds what the operation's own command does not have.
pub(super) fn complete(command: Command) -> Command {
    let watch = Arg::new("watch").long("watch").action(ArgAction::SetTrue);
    command
        .arg(watch.help("Goes on, and shows what changes"))
        .after_help("Exit codes: 0 all is well, 2 something should be looked at, 1 something does not work, 3 the daemon does not answer.")
}

pub(super) async fn run(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let client = world.client().await?;
    if matches.get_flag("watch") {
        return watch(world, client).await;
    }
    let (value, reply) = ask(world, client).await?;
    match world.screen.form {
        Form::Json => world.screen.print_json(&value)?,
        Form::People => world.screen.print(&text(&world.screen, &reply))?,
    }
    Ok(exit(&reply))
}

async fn ask(world: &World, client: Client) -> Result<(Value, NodeReply), Failure> {
    let value = world.ask(client, &Call::new("node", json!({}))).await?.body;
    let reply = serde_json::from_value(value.clone()).map_err(ClientError::Unreadable)?;
    Ok((value, reply))
}

fn exit(reply: &NodeReply) -> Exit {
    match reply.attention.iter().map(|attention| attention.state).max() {
        Some(CheckState::Fail) => Exit::Failed,
        Some(CheckState::Warn) => Exit::Warned,
        Some(CheckState::Pass) | None => Exit::Done,
    }
}

/// Shows changes until it is interrupted: the whole on a terminal, lines elsewhere, an object per line with `--json`.
async fn watch(world: &World, client: Client) -> Result<Exit, Failure> {
    let screen = &world.screen;
    let mut client = Ok(client);
    let mut shown = String::new();
    let mut known = BTreeSet::new();
    loop {
        let answer = match client {
            Ok(client) => ask(world, client).await,
            Err(failure) => Err(failure),
        };
        let (lines, whole) = match &answer {
            Ok((_, reply)) => (lines(reply), text(screen, reply)),
            Err(failure @ (Failure::Client(_) | Failure::Start(_))) => (vec![failure.message()], failure.message()),
            Err(_) => return answer.map(|(_, reply)| exit(&reply)),
        };
        let now: BTreeSet<String> = lines.into_iter().collect();
        match (screen.form, screen.width, &answer) {
            (Form::Json, _, Ok((value, _))) if now != known => screen.print(&value.to_string())?,
            (Form::Json, _, Err(failure)) if now != known => screen.print(&failure.json().to_string())?,
            (Form::Json, _, _) => {}
            (Form::People, Some(_), _) if whole != shown => screen.print_exactly(&format!("{CLEAR}{whole}\n"))?,
            (Form::People, Some(_), _) => {}
            (Form::People, None, _) => {
                let new = now.difference(&known).cloned();
                let over =
                    known.difference(&now).filter(|line| line.starts_with('!')).map(|line| format!("over {line}"));
                let changes: Vec<String> = over.chain(new).collect();
                if !changes.is_empty() {
                    screen.print(&body(&changes.join("\n")))?;
                }
            }
        }
        (shown, known) = (whole, now);
        sleep(LOOK).await;
        client = world.client_of_running();
    }
}

/// What changes are measured by: no round trips, no ages.
fn lines(reply: &NodeReply) -> Vec<String> {
    let peer = |peer: &PeerView| {
        let path = peer.path.as_ref().map(|path| format!(" ({path})")).unwrap_or_default();
        let sessions = peer.active_sessions.filter(|count| *count > 0);
        let sessions = sessions.map(|count| format!(", {count} sessions alive")).unwrap_or_default();
        format!("{} {}{path}{sessions}", peer.name, state(peer))
    };
    let attention = |found: &Attention| {
        // The rest of such a message holds ages.
        let message = found.message.split(" (last seen").next().unwrap_or_default();
        format!("{} {}: {message}", mark(found.state), found.about)
    };
    let here = format!("{}: {} sessions alive", reply.machine, reply.active_sessions);
    let arrived = reply.arrived.as_ref().map(|arrived| format!("arrived: {}", records(arrived)));
    std::iter::once(here)
        .chain(arrived)
        .chain(reply.peers.iter().map(peer))
        .chain(reply.attention.iter().map(attention))
        .collect()
}

fn records(arrived: &ctxnode_api::node::ArrivedView) -> String {
    let word = |(kind, count): (&String, &u64)| format!("{count} {kind}{}", if *count == 1 { "" } else { "s" });
    let words: Vec<String> = arrived.records.iter().map(word).collect();
    let more = if arrived.more { " and more" } else { "" };
    format!("{}{more} from {}", words.join(", "), arrived.machines.join(", "))
}

/// The whole for people.
fn text(screen: &Screen, reply: &NodeReply) -> String {
    let width = screen.width.map_or(WIDTH, usize::from);
    parts([here(reply), peers(screen, reply), attention(reply, width)])
}

fn here(reply: &NodeReply) -> String {
    let now = SystemClock.now();
    let key = |text: &str| text.chars().take(8).collect::<String>();
    let field = reply.field.as_ref().map(|field| {
        let every =
            field.every_seconds.map_or_else(|| "on demand".to_owned(), |every| format!("every {} min", every / 60));
        let used = field
            .budget_bytes
            .map(|budget| format!(", {} of {} used today", bytes_text(field.used_bytes), bytes_text(budget)));
        let others = Some(field.others_used_bytes).filter(|bytes| *bytes > 0).map(|bytes| {
            let most = field.others_budget_bytes.map(|most| format!(" of at most {}", bytes_text(most)));
            format!(", {}{} by other machines' rounds", bytes_text(bytes), most.unwrap_or_default())
        });
        let unsent =
            field.unsent.map(|unsent| format!(", {unsent} {} unsent", if unsent == 1 { "entry" } else { "entries" }));
        let unsent = unsent.unwrap_or_default();
        format!("on, syncs {every}{}{}{unsent}", used.unwrap_or_default(), others.unwrap_or_default())
    });
    let arrived = reply.arrived.as_ref().map(|arrived| {
        let away = arrived
            .since
            .map(|since| since.0.age(arrived.at.0))
            .filter(|age| !age.starts_with("just now"))
            .map(|age| format!(", after {age} out of touch"))
            .unwrap_or_default();
        format!("{} ({}{away})", records(arrived), ago(arrived.at.0, now))
    });
    let waiting = match reply.waiting {
        0 => None,
        1 => Some("1 change, for others that have not arrived".to_owned()),
        count => Some(format!("{count} changes, for others that have not arrived")),
    };
    facts(&[
        (
            "machine",
            Some(format!(
                "{} ({}), node {} of fleet {}",
                reply.machine,
                reply.role.name(),
                key(&reply.node),
                key(&reply.fleet)
            )),
        ),
        ("build", Some(format!("{}, pid {}, started {}", reply.build, reply.pid, ago(reply.started_at.0, now)))),
        ("sessions", Some(format!("{} alive here", reply.active_sessions))),
        ("store", Some(format!("{} records, {}", reply.records.values().sum::<u64>(), bytes_text(reply.store_bytes)))),
        ("backup", Some(reply.last_backup.map_or_else(|| "none yet".to_owned(), |at| ago(at.0, now)))),
        ("waiting", waiting),
        ("listening", Some(reply.listening.join(", ")).filter(|text| !text.is_empty())),
        ("field mode", field),
        ("arrived", arrived),
    ])
}

fn state(peer: &PeerView) -> &'static str {
    match (peer.state, peer.reason) {
        (PeerState::Connected, _) => "connected",
        (PeerState::ViaOthers, _) => "via others",
        (PeerState::Revoked, _) => "revoked",
        (PeerState::Unreachable, Some(PeerReason::Away)) => "in field mode",
        (PeerState::Unreachable, Some(PeerReason::Paused)) => "paused",
        (PeerState::Unreachable, _) => "unreachable",
    }
}

/// Peers in columns: a row has its place in 80 characters.
fn peers(screen: &Screen, reply: &NodeReply) -> String {
    let number = |found: Option<u64>| found.map(|found| found.to_string()).unwrap_or_default();
    let row = |peer: &PeerView| {
        let is_known = peer.state != PeerState::Revoked;
        let unsent = (peer.they_lack.is_none() && is_known).then(|| unsent(peer));
        let seen =
            if peer.state == PeerState::Connected { "now" } else { peer.last_seen_age.as_deref().unwrap_or("never") };
        [
            peer.name.clone(),
            state(peer).to_owned(),
            peer.path.clone().unwrap_or_default(),
            peer.rtt_ms.map(|rtt| format!("{rtt:.0} ms")).unwrap_or_default(),
            number(peer.we_lack),
            peer.they_lack.map(|lacks| lacks.to_string()).or(unsent).unwrap_or_default(),
            seen.to_owned(),
            number(peer.active_sessions),
            build(peer, &reply.build),
        ]
    };
    let headings = ["peer", "state", "path", "rtt", "we lack", "it lacks", "seen", "alive", "build"];
    screen.table(&headings, reply.peers.iter().map(row))
}

/// What was written here and has not reached it, with the age of the oldest; `?` when it has never said what it has.
fn unsent(peer: &PeerView) -> String {
    let seconds = peer.unacknowledged_seconds.filter(|seconds| *seconds >= 60).and_then(|age| i64::try_from(age).ok());
    let age = seconds.map(|seconds| format!(" ({})", Timestamp(0).age(Timestamp(seconds.saturating_mul(1_000)))));
    let Some(unsent) = peer.unsent else { return "?".to_owned() };
    format!("{unsent}{}", age.filter(|_| unsent > 0).unwrap_or_default())
}

/// What another node runs, where that is not what this one runs.
fn build(peer: &PeerView, own: &str) -> String {
    match peer.build.as_deref() {
        Some(build) if build == own => "same".to_owned(),
        Some(build) => build.split(' ').next().unwrap_or_default().chars().take(13).collect(),
        None => String::new(),
    }
}

/// How long ago that was.
fn ago(at: Timestamp, now: Timestamp) -> String {
    let age = at.age(now);
    if age.starts_with("just now") { age } else { format!("{age} ago") }
}

fn mark(state: CheckState) -> &'static str {
    match state {
        CheckState::Pass => "✓",
        CheckState::Warn => "!",
        CheckState::Fail => "✗",
    }
}

fn attention(reply: &NodeReply, width: usize) -> String {
    if reply.attention.is_empty() {
        return "all is well".to_owned();
    }
    let block = |found: &Attention| {
        let said = wrap(&format!("{} {}: {}", mark(found.state), found.about, line(&found.message)), width);
        let fix = found.fix.as_ref().map(|fix| format!("\n{}", wrap(&format!("  {}", line(fix)), width)));
        format!("{said}{}", fix.unwrap_or_default())
    };
    reply.attention.iter().map(block).collect::<Vec<_>>().join("\n")
}

/// Breaks a line between words; what follows is indented by two.
fn wrap(text: &str, width: usize) -> String {
    let indent = if text.starts_with(' ') { "  " } else { "" };
    let mut lines = vec![indent.to_owned()];
    for word in text.split_whitespace() {
        let Some(last) = lines.last_mut() else { break };
        let used = last.chars().count();
        let is_fresh = last.trim().is_empty();
        if !is_fresh && used + 1 + word.chars().count() > width {
            lines.push(format!("  {word}"));
        } else {
            last.push_str(if is_fresh { "" } else { " " });
            last.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(value: &Value) -> NodeReply {
        let mut whole = json!({
            "build": "0.1.0 (abc)", "fleet": "f".repeat(32), "node": "a".repeat(64), "role": "admin", "machine": "mac",
            "pid": 7, "started_at": "2026-01-01T00:00:00.000Z", "uptime_seconds": 1, "data_dir": "/d",
            "store_bytes": 2_000_000, "memory_bytes": null, "records": { "note": 3 }, "active_sessions": 1,
            "journal": 5, "search": { "enabled": true, "watermark": 5, "documents": 3 }, "quarantined": 0,
            "last_backup": null, "peers": [], "alerts": [],
        });
        value.as_object().unwrap().iter().for_each(|(name, value)| whole[name] = value.clone());
        serde_json::from_value(whole).unwrap()
    }

    fn peer(name: &str, state: &str, more: &Value) -> Value {
        let mut peer = json!({
            "node": "b".repeat(64), "name": name, "role": "writer", "state": state, "path": null, "address": null,
            "rtt_ms": null, "we_lack": null, "they_lack": null, "unacknowledged_seconds": null, "unsent": 0,
            "last_seen": null, "last_seen_age": null, "build": "0.1.0 (abc)", "clock_skew_seconds": null,
            "active_sessions": null, "problem": null, "fix": null, "addresses": [],
        });
        more.as_object().unwrap().iter().for_each(|(name, value)| peer[name] = value.clone());
        peer
    }

    #[test]
    fn a_fleet_fits_eighty_columns_and_says_what_to_do() {
        let connected = json!({ "path": "lan", "rtt_ms": 1.2, "we_lack": 0, "they_lack": 3, "active_sessions": 2 });
        let lost = json!({
            "unsent": 4, "unacknowledged_seconds": 200_000, "last_seen_age": "3 days", "reason": "no_answer",
            "build": "0.2.0 (def)",
        });
        let attention = json!({ "state": "warn", "about": "server", "message": format!("unreachable {}", "word ".repeat(20)), "fix": "is it on?" });
        let reply = reply(&json!({
            "peers": [peer("laptop", "connected", &connected), peer("server", "unreachable", &lost)],
            "attention": [attention],
        }));
        let shown = text(&Screen::plain(), &reply);
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        for part in [
            "mac (admin)",
            "laptop  connected    lan   1 ms",
            "4 (2 days)  3 days",
            "! server: unreachable",
            "  is it on?",
            "same",
            "0.2.0",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(exit(&reply).code(), 2);
    }

    #[test]
    fn exit_codes_follow_what_is_worst() {
        assert_eq!(exit(&reply(&json!({}))).code(), 0);
        assert!(text(&Screen::plain(), &reply(&json!({}))).ends_with("all is well"));
        let attention = |state: &str| json!({ "state": state, "about": "x", "message": "y" });
        assert_eq!(exit(&reply(&json!({ "attention": [attention("warn"), attention("fail")] }))).code(), 1);
    }

    #[test]
    fn ages_and_round_trips_are_no_change() {
        let one = json!({ "rtt_ms": 1.0, "path": "lan" });
        let two = json!({ "rtt_ms": 9.0, "path": "lan" });
        let said = |more: &Value| lines(&reply(&json!({ "peers": [peer("laptop", "connected", more)] })));
        assert_eq!(said(&one), said(&two));
        assert_ne!(said(&one), said(&json!({ "path": "direct" })));
    }
}
