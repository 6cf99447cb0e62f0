//! What the launcher says of a session, and what the agent's hook and tool start: one session, whoever comes first. The daemon
//! and its command line are real, the agent is a stand-in.

use std::fs;

use ctxnode_testkit::Sandbox;
use serde_json::Value;

use super::support::{ALPHA, all, checkout, errors, json, launcher, ready, start};

/// An agent that starts its session as `$HOME/order` says. Its commands are its own children, as a CLI's are.
const AGENT: &str = r#"
printf '{"session_id":"%s","cwd":"%s","source":"startup"}' "$(cat "$HOME/conversation")" "$PWD" >"$HOME/event"
case $(cat "$HOME/order") in
    hook-first) ctxnode hook claude session-start <"$HOME/event" >/dev/null; ctxnode sod --json >"$HOME/sod" ;;
    tool-first) ctxnode sod --json >"$HOME/sod"; ctxnode hook claude session-start <"$HOME/event" >/dev/null ;;
    at-once)
        ctxnode hook claude session-start <"$HOME/event" >/dev/null &
        ctxnode sod --json >"$HOME/sod" &
        wait ;;
    twice)
        ctxnode sod --json >"$HOME/sod"
        ctxnode eod --status done --accomplished "It" >/dev/null
        ctxnode sod --json >"$HOME/sod" ;;
esac
"#;

fn sessions(sandbox: &Sandbox) -> Vec<Value> {
    json(sandbox, &["session", "list", "--status", "any", "--json"])["items"].as_array().unwrap().clone()
}

/// Launches an agent; returns the sessions that are new since.
fn launched(sandbox: &Sandbox, order: &str, conversation: &str, words: &[&str]) -> Vec<Value> {
    fs::write(sandbox.home().join("order"), order).unwrap();
    fs::write(sandbox.home().join("conversation"), conversation).unwrap();
    let before: Vec<Value> = sessions(sandbox).into_iter().map(|session| session["id"].clone()).collect();
    let done = launcher(sandbox, &[&["alpha"], words].concat());
    assert!(done.status.success(), "{}", all(&done));
    assert!(!errors(&done).contains("does not know its part"), "{}", errors(&done));
    sessions(sandbox).into_iter().filter(|session| !before.contains(&session["id"])).collect()
}

/// L-12, S-31: hook and tool come in either order, or together, and find one session, which has the track.
#[test]
fn l_12_s_31_the_track_is_that_of_one_session_in_whatever_order_it_is_started() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    sandbox.fake_program("claude", AGENT);
    for (track, order) in ["hook-first", "tool-first", "at-once"].into_iter().enumerate() {
        let made = launched(&sandbox, order, order, &["--track", &track.to_string()]);
        assert_eq!(made.len(), 1, "{order}: {made:?}");
        assert_eq!((&made[0]["track"], &made[0]["cli"]), (&track.into(), &"claude".into()), "{order}: {made:?}");
    }
    let none = launched(&sandbox, "hook-first", "untold", &[]);
    assert!(none.len() == 1 && none[0]["track"].is_null(), "{none:?}");
    // It is said of the agent's start, not of all that it does later.
    let two = launched(&sandbox, "twice", "twice", &["--track", "7"]);
    let mut tracks: Vec<&Value> = two.iter().map(|session| &session["track"]).collect();
    tracks.sort_by_key(|track| track.as_i64());
    assert_eq!(tracks, [&Value::Null, &7.into()], "{two:?}");
}

/// L-12: a conversation that is taken up again keeps its session, which gets the track and the handoff of this launch.
#[test]
fn l_12_a_conversation_that_goes_on_takes_the_track_of_its_launch() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    sandbox.fake_program("claude", AGENT);
    let first = launched(&sandbox, "hook-first", "goes-on", &["--track", "1"]);
    assert_eq!(first.len(), 1);
    let again = launched(&sandbox, "hook-first", "goes-on", &["--track", "2"]);
    assert_eq!(again, Vec::<Value>::new());
    let kept = sessions(&sandbox).into_iter().find(|session| session["id"] == first[0]["id"]).unwrap();
    assert_eq!(kept["track"], 2, "{kept}");
}
