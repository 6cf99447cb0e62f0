//! Exercises what agent CLIs have registered: starts that very command as a CLI would, and asks it for its tools.
//!
//! A registration that is there proves nothing: its program may be gone, another build, or deaf. Not here: what the
//! registration should be (`setup`).

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ctxnode_launcher::agents::Agent;
use ctxnode_launcher::program::find;
use ctxnode_launcher::setup::{Places, Registered, Scope, registered};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::world::World;

/// How long a server may take to list its tools. The daemon may have to start first.
const ANSWER: Duration = Duration::from_secs(10);
/// How long it may take to end once its input is closed.
const END: Duration = Duration::from_secs(3);
/// The most that is read of what it says; the list of our tools has some 30 kB.
const MOST: u64 = 4 << 20;
/// What a CLI gives its servers: some pass nothing else, so what works with these works everywhere.
const PASSED: [&str; 6] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM"];

/// Why a registered server is of no use.
#[derive(Debug, Error)]
pub(super) enum Deaf {
    #[error("ctxnode is not registered")]
    Unregistered,
    #[error("its entry in {} is switched off", .0.display())]
    Off(PathBuf),
    #[error("`{0}` is not on the PATH")]
    NoProgram(String),
    #[error("`{0}` cannot be started")]
    Start(String),
    #[error("`{0}` ended without an answer")]
    Ended(String),
    #[error("`{command}` did not list its tools within {} s", .limit.as_secs())]
    TooSlow { command: String, limit: Duration },
    #[error("`{0}` lists no tool of ctxnode")]
    Stranger(String),
}

/// A server that answered.
#[derive(Debug)]
pub(super) struct Heard {
    /// What was started.
    pub(super) command: String,
    /// How many tools it has.
    pub(super) tools: usize,
}

/// Finds what a CLI has registered, for this checkout or for the user; the checkout's beats the user's.
pub(super) fn find_registered(agent: Agent, places: &Places) -> Option<Registered> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let project = places.project.as_ref().and_then(|_| registered(agent, Scope::Project, places, &read));
    project.or_else(|| registered(agent, Scope::User, places, &read))
}

/// Starts what a CLI has registered and asks it for its tools.
pub(super) async fn exercise(world: &World, found: Option<&Registered>) -> Result<Heard, Deaf> {
    let found = found.ok_or(Deaf::Unregistered)?;
    if !found.enabled {
        return Err(Deaf::Off(found.path.clone()));
    }
    let words = std::iter::once(found.command.as_str()).chain(found.arguments.iter().map(String::as_str));
    let command = words.collect::<Vec<_>>().join(" ");
    let program = if found.command.contains('/') {
        PathBuf::from(&found.command)
    } else {
        find(&found.command, &world.env).ok_or_else(|| Deaf::NoProgram(found.command.clone()))?
    };
    let passed = PASSED.iter().filter_map(|name| Some((*name, world.env.get(name)?)));
    let mut server = Command::new(program);
    server.args(&found.arguments).env_clear().envs(passed).envs(&found.variables).current_dir(&world.directory);
    if !world.config.autostart {
        server.env(ctxnode_config::env::NO_AUTOSTART, "1");
    }
    server.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = server.spawn().map_err(|_| Deaf::Start(command.clone()))?;
    let listed = timeout(ANSWER, tools(&mut child)).await;
    // It ends with its input; one that does not is stopped.
    drop(child.stdin.take());
    if timeout(END, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    let tools = match listed {
        Ok(Some(tools)) => tools,
        Ok(None) => return Err(Deaf::Ended(command)),
        Err(_) => return Err(Deaf::TooSlow { command, limit: ANSWER }),
    };
    if !tools.iter().any(|tool| tool == "sod") {
        return Err(Deaf::Stranger(command));
    }
    Ok(Heard { command, tools: tools.len() })
}

/// Makes the handshake and returns the names of the tools; `None` when the server is gone before it has answered.
async fn tools(child: &mut Child) -> Option<Vec<String>> {
    let client = json!({ "name": "ctxnode-setup", "version": ctxnode_api::version::BUILD });
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
    let said = [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }),
    ];
    let text: String = said.iter().map(|message| format!("{message}\n")).collect();
    child.stdin.as_mut()?.write_all(text.as_bytes()).await.ok()?;
    let mut lines = BufReader::new(child.stdout.take()?.take(MOST)).lines();
    while let Some(line) = lines.next_line().await.ok()? {
        // What is no answer to the question is the server's own affair.
        let Ok(answer) = serde_json::from_str::<Value>(&line) else { continue };
        if answer["id"] == 2 {
            let tools = answer["result"]["tools"].as_array()?;
            return Some(tools.iter().filter_map(|tool| tool["name"].as_str()).map(str::to_owned).collect());
        }
    }
    None
}
