//! `ctxnode continue`: another agent, or another machine, goes on with the work of a session. The same branch, the same
//! worktree, and its newest handoff in front of the agent; a session that stopped without one leaves its draft.
//!
//! `choose` and `prompt` are pure, `gather` asks the daemon and git, `remote` does it on another machine.

mod choose;
mod gather;
mod prompt;
mod remote;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser as _;
use ctxnode_api::handoffs::HandoffView;
use ctxnode_api::sessions::SessionView;
use serde_json::json;

use crate::agents::Agent;
use crate::execute::{self, Exit};
use crate::options::Options;
use crate::plan::{self, quoted};
use crate::refusal::Refusal;
use crate::terminal::Window;
use crate::world::{Autostart, World};

pub use choose::{Choice, choose};
pub use prompt::{arguments, prompt};

/// What was typed.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// A session, a handoff or a venture; without one, what was done last here.
    pub what: Option<String>,
    /// The agent CLI.
    pub with: Option<Agent>,
    /// The other machine.
    pub on: Option<String>,
    /// Whether it runs in a tmux session of the venture, as on a machine that is reached over ssh.
    pub tmux: bool,
    /// Whether only the plan is wanted.
    pub dry_run: bool,
    /// Whether it is wanted as JSON.
    pub json: bool,
    /// Whether every question is answered with yes.
    pub yes: bool,
    /// Arguments of the agent's own.
    pub arguments: Vec<OsString>,
}

/// What is continued.
#[derive(Clone, Debug)]
pub struct Work {
    /// The session.
    pub session: SessionView,
    /// Its handoff, or the newest one that there is.
    pub handoff: Option<HandoffView>,
    /// Whether the handoff was named: then the session is left as it is.
    pub named: bool,
}

impl Work {
    fn branch(&self) -> Option<String> {
        let of_handoff = self.handoff.as_ref().filter(|_| self.named).and_then(|handoff| handoff.row.branch.clone());
        of_handoff.or_else(|| self.session.branch.clone())
    }
}

/// Goes on with the work of a session.
///
/// # Errors
/// The first step that cannot be done. The session that is continued ends only once all that can be checked was.
pub fn run(mut world: World, asked: &Asked, runtime: &tokio::runtime::Runtime) -> Result<Exit, Refusal> {
    let mut work = runtime.block_on(gather::work(&world, asked))?;
    if let Some(machine) = &asked.on {
        return runtime.block_on(remote::run(&world, asked, machine, work));
    }
    let (agent, _) = plan::program(&options_for(asked, &work, &world)?, None, &world.programs())?;
    let checkout = gather::checkout(&world, &work.session)?;
    let branch = work.branch();
    if let Some(branch) = &branch {
        runtime.block_on(gather::find_branch(&checkout, branch, &work.session.machine))?;
    }
    if asked.tmux {
        return window(&world, asked, agent, &work);
    }
    let was_at_work = work.session.pid.is_some();
    if !asked.dry_run {
        runtime.block_on(gather::settle(&world, asked, &mut work))?;
    }
    let mut words: Vec<OsString> =
        ["launcher", work.session.venture.as_str(), "--agent", agent.name()].map(Into::into).into();
    if let Some(branch) = branch {
        words.extend(["--branch".into(), branch.into()]);
    }
    if let Some(handoff) = &work.handoff {
        words.extend(["--continues".into(), handoff.row.id.as_str().into()]);
    }
    let flags = [(was_at_work, "--take-over"), (asked.dry_run, "--dry-run"), (asked.json, "--json")];
    words.extend(flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag.into()));
    // The program that runs is not the launcher: a replaced one cannot run these words again.
    words.extend(["--replaced".into(), "--".into()]);
    words.extend(arguments(agent, &prompt(&work.session, work.handoff.as_ref())));
    words.extend(asked.arguments.iter().cloned());
    let options = Options::try_parse_from(words).map_err(|error| Refusal::Run {
        step: crate::refusal::Step::Spawn,
        program: "launcher".into(),
        source: std::io::Error::other(error.to_string()),
    })?;
    world.screen.say(&told(&work, agent));
    world.around.directory = checkout;
    execute::launch(&world, &options, &work.session.venture, runtime)
}

/// Options that say nothing but which agent goes on.
fn options_for(asked: &Asked, work: &Work, world: &World) -> Result<Options, Refusal> {
    let variable = world.around.env.get(plan::agent::VARIABLE);
    let installed: Vec<Agent> = world.programs().into_keys().collect();
    let agent = match asked.with {
        Some(agent) => agent,
        None => successor(&work.session, variable, &installed)?,
    };
    let words = ["launcher", work.session.venture.as_str(), "--agent", agent.name()];
    Ok(Options::try_parse_from(words).unwrap_or_else(|_| Options::parse_from(["launcher"])))
}

/// Which agent goes on when nobody says: the variable's; else the session's own, unless that one cannot, else any.
fn successor(session: &SessionView, variable: Option<&str>, installed: &[Agent]) -> Result<Agent, Refusal> {
    if variable.is_some() {
        return plan::agent::choose(&[], None, variable);
    }
    let own = session.cli.as_deref().and_then(Agent::of_name);
    let fits = |agent: &Agent| installed.contains(agent) && (session.failed.is_none() || Some(*agent) != own);
    Ok(own.filter(fits).or_else(|| Agent::ALL.into_iter().find(fits)).or(own).unwrap_or(Agent::ALL[0]))
}

/// Starts the same command in a window of the venture's tmux session.
fn window(world: &World, asked: &Asked, agent: Agent, work: &Work) -> Result<Exit, Refusal> {
    Window::check(&world.around.env)?;
    let what = work.handoff.as_ref().filter(|_| work.named).map_or(&work.session.id, |handoff| &handoff.row.id);
    let mut words: Vec<OsString> = vec![world.ctxnode()?.into(), "continue".into(), what.into()];
    words.extend(["--with".into(), agent.name().into()]);
    words.extend(asked.yes.then(|| "--yes".into()));
    if !asked.arguments.is_empty() {
        words.push("--".into());
        words.extend(asked.arguments.iter().cloned());
    }
    if asked.dry_run {
        let text: Vec<String> = words.iter().map(|word| quoted(&word.to_string_lossy())).collect();
        let line = text.join(" ");
        let plan = json!({ "venture": work.session.venture, "session": work.session.id, "command": line });
        world.screen.print(&if asked.json { plan.to_string() } else { format!("in tmux: {line}") });
        return Ok(0);
    }
    let directory: PathBuf = gather::checkout(world, &work.session)?;
    let inside = world.around.env.get("TMUX").is_some();
    Window { session: &work.session.venture, name: agent.name(), directory: &directory, words: &words, inside }
        .open(&world.screen)?;
    Ok(0)
}

fn told(work: &Work, agent: Agent) -> String {
    let from = match &work.handoff {
        Some(handoff) if handoff.row.drafted => format!("draft {}", handoff.row.id),
        Some(handoff) => format!("handoff {}", handoff.row.id),
        None => "its session alone: it left no handoff".to_owned(),
    };
    format!("continue: {} goes on with {} from {from}", agent.title(), work.session.id)
}

/// Asks the daemon.
async fn ask<T: serde::de::DeserializeOwned>(world: &World, call: &ctxnode_api::Call) -> Result<T, Refusal> {
    let mut client = world.client(Autostart::Allowed).await?;
    let body = client.call(call).await?.body;
    Ok(serde_json::from_value(body).map_err(ctxnode_api::ClientError::Unreadable)?)
}

#[cfg(test)]
mod tests {
    use super::choose::fixture::session;
    use super::*;

    #[test]
    fn the_same_agent_goes_on_unless_it_cannot() {
        let own = session("a", "codex", "main");
        let all = [Agent::Claude, Agent::Codex, Agent::Gemini];
        assert_eq!(successor(&own, None, &all).unwrap(), Agent::Codex);
        assert_eq!(successor(&own, Some("gemini"), &all).unwrap(), Agent::Gemini);
        assert_eq!(successor(&own, None, &[Agent::Gemini]).unwrap(), Agent::Gemini, "not installed here");
        let failed = SessionView { failed: Some("rate_limit".into()), ..own };
        assert_eq!(successor(&failed, None, &all).unwrap(), Agent::Claude, "its limit is reached");
        assert_eq!(successor(&failed, None, &[Agent::Codex]).unwrap(), Agent::Codex, "there is no other");
    }
}
