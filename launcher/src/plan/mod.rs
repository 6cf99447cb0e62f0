//! What a launch will do, made from values alone: the same inputs give the same plan, and `--dry-run` prints it.

pub mod agent;
pub mod place;
mod show;
pub mod venture;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ctxnode_api::operations::VentureView;
use serde::Serialize;

use crate::agents::Agent;
use crate::checkout::Checkout;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::secrets::{MachineFile, Source, decide};
use place::Place;

pub use show::quoted;

/// Everything that a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What was typed.
    pub options: &'a Options,
    /// The agent that the environment names.
    pub agent_variable: Option<&'a str>,
    /// Where the programs of the agent CLIs are.
    pub programs: &'a BTreeMap<Agent, PathBuf>,
    /// The code of the venture.
    pub venture: &'a str,
    /// All ventures.
    pub ventures: &'a [VentureView],
    /// The checkouts of this machine.
    pub checkouts: &'a [Checkout],
    /// Where checkouts were looked for.
    pub dev_dirs: &'a [PathBuf],
    /// The working directory.
    pub directory: &'a Path,
    /// What this machine says about secrets.
    pub machine: &'a MachineFile,
    /// Whether the person sits elsewhere.
    pub remote: bool,
}

/// Where the agent works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "in", rename_all = "snake_case")]
pub enum Work {
    /// In the checkout itself.
    Checkout,
    /// In a worktree of its own.
    Worktree {
        /// The branch, when it was named; else one is proposed.
        branch: Option<String>,
    },
}

/// What a launch will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The agent CLI.
    pub agent: Agent,
    /// Its program.
    pub program: PathBuf,
    /// The venture's code.
    pub venture: String,
    /// Its name.
    pub name: String,
    /// `owner/name`.
    pub repo: String,
    /// The checkout.
    pub checkout: PathBuf,
    /// Whether it has a remote to ask for what is new.
    pub fetch: bool,
    /// Where the agent works.
    pub work: Work,
    /// The session's track.
    pub track: Option<u32>,
    /// The handoff from which it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
    /// Where the secrets come from.
    pub secrets: Option<Source>,
    /// The agent's own arguments.
    #[serde(serialize_with = "texts")]
    pub arguments: Vec<OsString>,
    /// What was decided otherwise than asked.
    pub notices: Vec<String>,
}

fn texts<S: serde::Serializer>(words: &[OsString], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(words.iter().map(|word| word.to_string_lossy()))
}

/// Chooses the agent and its program; this needs neither daemon nor network.
///
/// # Errors
/// When it is not clear which, or it is not installed.
pub fn program(
    options: &Options,
    variable: Option<&str>,
    programs: &BTreeMap<Agent, PathBuf>,
) -> Result<(Agent, PathBuf), Refusal> {
    let agent = agent::choose(&options.agent_flags(), options.agent.as_deref(), variable)?;
    let program = programs.get(&agent).cloned().ok_or(Refusal::NoProgram(agent))?;
    Ok((agent, program))
}

/// Makes the plan.
///
/// # Errors
/// The first step that cannot be done.
pub fn plan(inputs: &Inputs<'_>) -> Result<Plan, Refusal> {
    let (agent, program) = program(inputs.options, inputs.agent_variable, inputs.programs)?;
    let venture = venture::find(inputs.venture, inputs.ventures)?;
    let (checkout, repo) = match place::find(venture, inputs.ventures, inputs.checkouts, inputs.directory) {
        Place::Here { checkout, repo } => (checkout, repo),
        Place::Missing { repo } => {
            let (code, dev_dirs) = (venture.code.clone(), inputs.dev_dirs.to_vec());
            return Err(Refusal::NoCheckout { code, repo, dev_dirs });
        }
    };
    let always = venture.settings.as_ref().and_then(|settings| settings.worktrees.as_deref()) == Some("always");
    let own = inputs.options.wants_worktree() || always;
    let (secrets, notice) = decide(venture, inputs.machine, inputs.options.env, inputs.remote)?;
    Ok(Plan {
        agent,
        program,
        venture: venture.code.clone(),
        name: venture.name.clone(),
        repo,
        checkout: checkout.path.clone(),
        fetch: !checkout.remotes.is_empty(),
        work: if own { Work::Worktree { branch: inputs.options.branch.clone() } } else { Work::Checkout },
        track: inputs.options.track,
        continues: inputs.options.continues.clone(),
        secrets,
        arguments: inputs.options.arguments.clone(),
        notices: notice.into_iter().collect(),
    })
}

#[cfg(test)]
pub(crate) mod fixture {
    //! Two ventures and checkouts, for the tests of this package.

    use serde_json::json;

    use super::*;

    pub(crate) fn ventures() -> Vec<VentureView> {
        let all = json!([
            { "code": "alpha", "name": "Alpha", "org": "alpha-org", "repos": ["alpha-org/api", "alpha-org/console"],
                "capabilities": [], "local_path": null, "archived": false },
            { "code": "beta", "name": "Beta", "org": "beta-org", "repos": [], "capabilities": [], "local_path": null,
                "archived": false },
        ]);
        serde_json::from_value(all).unwrap()
    }

    pub(crate) fn checkout(path: &str, remote: &str) -> Checkout {
        Checkout { path: path.into(), remotes: vec![remote.to_owned()] }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::fixture::{checkout, ventures};
    use super::*;

    fn made(words: &[&str]) -> Result<Plan, Refusal> {
        let options = Options::try_parse_from([&["launcher", "alpha"], words].concat()).unwrap();
        let programs =
            [(Agent::Claude, PathBuf::from("/bin/claude")), (Agent::Codex, PathBuf::from("/bin/codex"))].into();
        plan(&Inputs {
            options: &options,
            agent_variable: None,
            programs: &programs,
            venture: options.venture.as_deref().unwrap(),
            ventures: &ventures(),
            checkouts: &[checkout("/home/ada/dev/console", "git@github.com:alpha-org/console.git")],
            dev_dirs: &["/home/ada/dev".into()],
            directory: Path::new("/home/ada"),
            machine: &MachineFile::default(),
            remote: false,
        })
    }

    #[test]
    fn l_12_track_worktree_and_arguments_are_in_the_plan() {
        let plan = made(&["--codex", "--track", "0", "--worktree", "--", "--model", "a;b $(c)"]).unwrap();
        assert_eq!((plan.agent, plan.track, &plan.work), (Agent::Codex, Some(0), &Work::Worktree { branch: None }));
        insta::assert_snapshot!(plan.show(), @r"
        plan for alpha (Alpha)
          agent     Codex, /bin/codex
          repo      alpha-org/console in /home/ada/dev/console
          update    fetch for at most 5 s, then forward when clean, on the default branch and not ahead
          worktree  a new one below /home/ada/dev/console.worktrees, on a new branch
          track     0
          secrets   none
          setup     registration compared and repaired
          start     /bin/codex --model 'a;b $(c)'
        nothing was done
        ");
    }

    #[test]
    fn a_program_that_is_missing_is_refused_with_its_install_command() {
        let refusal = made(&["--gemini"]).unwrap_err();
        assert_eq!(refusal.step().name(), "program");
        assert_eq!(refusal.fix(), "install it: npm install -g @google/gemini-cli");
    }

    #[test]
    fn the_plan_is_an_object_too() {
        let plan = serde_json::to_value(made(&["--branch", "dev/x"]).unwrap()).unwrap();
        assert_eq!(plan["agent"], "claude");
        assert_eq!(plan["work"], serde_json::json!({ "in": "worktree", "branch": "dev/x" }));
        assert_eq!(plan["track"], serde_json::Value::Null);
    }
}
