//! Real networks: machines in namespaces of their own on a switch that can be made bad, each with a daemon as it is when
//! nobody configured anything. What a network does to a fleet is shown here; what peers say to each other, in
//! `ctxnode-sync`.

mod moving;
mod near;
mod rough;
mod shape;
mod typed;

use std::time::{Duration, Instant};

use ctxnode_api::Call;
use ctxnode_testkit::{Place, Sandbox, wait_until};
use serde_json::{Value, json};

use crate::support::{ctxnode, person, printed, script, text};

/// How long a fleet may take to be equal once the path between its parts is back.
const BACK: Duration = Duration::from_secs(3);
/// How long anything else may take that happens by itself.
const LONG: Duration = Duration::from_secs(60);

/// Makes the first machine of a fleet.
fn founder(place: &Place) -> Sandbox {
    let sandbox = Sandbox::at(place);
    let made = ctxnode(&sandbox, &["init", "--name", "m1"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    sandbox
}

/// Makes another machine a member, as a person would.
fn member(founder: &Sandbox, place: &Place, name: &str) -> Sandbox {
    let sandbox = Sandbox::at(place);
    join(founder, &sandbox, name);
    sandbox
}

/// Makes a machine a member that is there already, with settings of its own.
fn join(founder: &Sandbox, sandbox: &Sandbox, name: &str) {
    let invited = ctxnode(founder, &["invite", "--json"]);
    assert!(invited.status.success(), "{}", String::from_utf8_lossy(&invited.stderr));
    let invited: Value = serde_json::from_str(&printed(&invited)).unwrap();
    let joined = ctxnode(sandbox, &["join", text(&invited, "code"), "--name", name]);
    assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));
}

/// Writes the settings of a machine. What runs already does not read them.
fn configure(sandbox: &Sandbox, settings: &str) {
    let folder = sandbox.home().join(".config/ctxnode");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), settings).unwrap();
}

fn peers(sandbox: &Sandbox) -> Vec<Value> {
    script(sandbox).do_("peer.list", json!({}))["items"].as_array().unwrap().clone()
}

/// Waits until a machine is connected to so many others, and lacks nothing.
fn settled(sandbox: &Sandbox, others: usize) {
    wait_until(LONG, "the machines are connected and equal", || {
        let peers = peers(sandbox);
        let is_equal = |peer: &&Value| peer["state"] == "connected" && peer["we_lack"] == 0 && peer["they_lack"] == 0;
        peers.iter().filter(is_equal).count() == others
    });
}

fn write(sandbox: &Sandbox, content: &str) -> String {
    let note = person(sandbox).do_("note.create", json!({ "content": content, "human_requested": true }));
    text(&note, "id").to_owned()
}

fn has(sandbox: &Sandbox, note: &str) -> bool {
    script(sandbox).ask(&Call::new("note.get", json!({})).param("id", note)).is_ok()
}

/// Waits until every machine has a note; returns how long it took.
#[track_caller]
fn arrives(note: &str, at: &[&Sandbox]) -> Duration {
    let since = Instant::now();
    wait_until(LONG, "the note is everywhere", || at.iter().all(|sandbox| has(sandbox, note)));
    since.elapsed()
}

/// Text that does not compress to less than three quarters.
fn noise(bytes: usize, seed: u64) -> String {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[(state >> 33) as usize % 64])
    };
    (0..bytes).map(|_| letter()).collect()
}
