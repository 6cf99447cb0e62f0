//! `ctxnode continue`: the command line of a continuation; the launcher's library does the rest.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ctxnode_launcher::agents::Agent;
use ctxnode_launcher::continuation::Asked;

use super::launch::launcher_world;
use super::screen::Form;
use super::world::World;

pub(super) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name.replace('_', "-")).action(ArgAction::SetTrue).help(help)
    };
    Command::new("continue")
        .about("Goes on with a session's work: another agent, the same branch and worktree, its handoff in front")
        .long_about(
            "Goes on with a session's work: another agent CLI starts in the same worktree and on the same branch, with the \
             newest handoff in front of it. A session that stopped without one (a crash, a limit, a closed lid) ends with \
             the draft of what was seen of it. Without a name it is the last session of this branch, else of this \
             checkout.",
        )
        .arg(
            Arg::new("what")
                .value_name("SESSION|HANDOFF|VENTURE")
                .help("What to go on with: sess_..., ho_..., or a venture's code"),
        )
        .arg(
            Arg::new("with")
                .long("with")
                .value_name("CLI")
                .value_parser(PossibleValuesParser::new(Agent::ALL.map(Agent::name)))
                .help("The agent CLI; without it the same as before, or another when that one's turn failed"),
        )
        .arg(Arg::new("on").long("on").value_name("MACHINE").help("Another machine of the fleet, over ssh and in tmux"))
        .arg(flag("tmux", "In a window of the venture's tmux session").conflicts_with("on"))
        .arg(flag("dry_run", "Says what would be done, and does nothing"))
        .arg(
            Arg::new("arguments")
                .last(true)
                .num_args(0..)
                .value_parser(value_parser!(OsString))
                .value_name("ARGS")
                .help("Arguments of the agent's own"),
        )
}

pub(super) fn run(world: &World, matches: &ArgMatches) -> ExitCode {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let asked = Asked {
        what: text("what"),
        with: text("with").as_deref().and_then(Agent::of_name),
        on: text("on"),
        tmux: matches.get_flag("tmux"),
        dry_run: matches.get_flag("dry_run"),
        json: world.screen.form == Form::Json,
        yes: world.says_yes(),
        arguments: matches.get_many::<OsString>("arguments").into_iter().flatten().cloned().collect(),
    };
    ctxnode_launcher::go_on(launcher_world(world), &asked)
}
