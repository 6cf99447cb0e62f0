//! The way back with the recovery key: this machine becomes an admin of its fleet, whatever others said about it.
//!
//! The key comes from stdin, or is typed without being shown; it signs here and goes nowhere, the daemon gets what it
//! signed.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use ctxnode_api::Call;
use ctxnode_model::NodeKey;
use ctxnode_model::id::FleetId;
use ctxnode_store::{Clock as _, OsEntropy, RecoveryKey, SystemClock, rescue_entry};
use data_encoding::HEXLOWER;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::failure::{Exit, Failure};
use super::screen::Form;
use super::world::World;
use crate::daemon::host_name;

/// The longest line that may hold a key; one has 77 characters.
const MAX_TYPED: u64 = 1_024;
const NO_KEY: Failure = Failure::Usage {
    message: "this is not a recovery key",
    hint: "it is `ctxr-` and 64 hex digits, as `ctxnode init` showed it once; type it, or give it on stdin",
};

pub(super) async fn run(world: &World) -> Result<Exit, Failure> {
    let typed = read_key().map_err(Failure::file("stdin"))?;
    let key: RecoveryKey = typed.parse().map_err(|_| NO_KEY)?;
    drop(typed);
    let found = world.ask(world.client().await?, &Call::new("node", json!({}))).await?.body;
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    let ids = text("fleet").parse::<FleetId>().ok().zip(text("node").parse::<NodeKey>().ok());
    let (fleet, node) = ids.ok_or(Failure::Usage {
        message: "the daemon did not say which fleet and node it is",
        hint: "`ctxnode daemon handover` runs the installed build",
    })?;
    let now = SystemClock.now();
    let entry = rescue_entry(&key, fleet, node, &host_name(), now, &OsEntropy).map_err(|_| NO_KEY)?;
    drop(key);
    let call = Call::new("fleet.recover", json!({ "entry": HEXLOWER.encode(&entry) }));
    let reply = world.ask(world.client().await?, &call).await?.body;
    match world.screen.form {
        Form::Json => world.screen.print_json(&reply)?,
        Form::People => {
            world.screen.print(&said(&reply))?;
            world.screen.notice("next: `ctxnode peers` shows the members, `ctxnode revoke NODE` takes a lost one out");
        }
    }
    Ok(Exit::Done)
}

fn said(reply: &Value) -> String {
    format!("this machine is {} of the fleet now; {} members, nobody was revoked", reply["role"], reply["members"])
        .replace('"', "")
}

/// Reads a line; on a terminal it asks, and what is typed is not shown.
fn read_key() -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        stdin.lock().take(MAX_TYPED).read_line(&mut line)?;
        return Ok(line);
    }
    let before = tcgetattr(&stdin)?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    write!(io::stderr(), "recovery key (not shown): ")?;
    io::stderr().flush()?;
    tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    let read = stdin.lock().take(MAX_TYPED).read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Flush, &before)?;
    writeln!(io::stderr())?;
    read.map(|_| line)
}
