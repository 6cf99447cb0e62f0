//! The command line: a client of the daemon like any other. Commands of operations come from the API's table; the few
//! that no daemon can do (make a replica, start the daemon, look why it does not start) have a file each.
//!
//! Never here: rules, the store's content. What a command prints goes through `screen`.

mod arguments;
mod continuation;
mod daemon;
mod doctor;
mod failure;
mod gh;
mod hook;
mod import;
mod init;
mod join;
mod launch;
mod links;
mod mcp;
mod operations;
mod qr;
mod recover;
mod reference;
mod screen;
mod setup;
mod show;
mod status;
mod status_line;
mod stdin;
mod tmux;
mod uninstall;
mod verify;
mod world;

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use ctxnode_api::{Call, Route, version};
use ctxnode_config::Environment;
use serde_json::Value;

use failure::{Exit, Failure};
use screen::{Form, Screen};
use world::{LONG, World};

/// Operations that people are asked about first, with what cannot be taken back.
const ASKED: &[(&str, &str)] = &[
    ("note.delete", "Delete this note for good?"),
    ("doc.delete", "Delete this doc?"),
    ("requirement.delete", "Delete this requirement?"),
    ("token.revoke", "Revoke this token?"),
    (
        "peer.revoke",
        "Take this node out of the fleet? It can come back only by a new invitation. What it has copied stays on it.",
    ),
    ("session.abandon", "Mark this session as abandoned?"),
];
/// Operations that work through the whole store.
const SLOW: &[&str] = &["node.check", "node.backup", "node.export"];

/// Runs the command that was typed. Returns the exit code of the process.
#[must_use]
pub fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "the one place where the command line reads its environment")]
    let found = std::env::vars_os().filter_map(|(name, value)| {
        // A variable that is not text is none of ours.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    });
    // Some programs start others with a bare environment; the user's home is known all the same.
    let home = std::env::home_dir().map(|home| ("HOME".to_owned(), home.display().to_string()));
    let env = Environment::from_pairs(home.into_iter().chain(found));
    let first = std::env::args_os().nth(1);
    let of_agents = first.as_ref().is_some_and(|word| word == "hook" || word == "statusline" || word == "mcp");
    let tree = if of_agents { small_tree() } else { tree() };
    let matches = match tree.try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version come this way too. Without a place to print to, the exit code says all.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let screen = world::screen(&matches, &env);
    match run(&matches, env, screen) {
        Ok(exit) => exit,
        Err(failure) => {
            screen.failure(&failure);
            ExitCode::from(failure.code())
        }
    }
}

/// Returns the whole tree of commands.
pub(crate) fn tree() -> Command {
    let top = Command::new("ctxnode")
        .version(version::BUILD)
        .about("Shared context of coding agents, on every machine of a team")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(world::flags())
        .after_help("Exit codes: 0 done, 1 refused or not found, 2 bad usage, 3 daemon unreachable, 70 bug, 130 interrupted.\nFor status, preflight and doctor: 0 pass, 2 warn, 1 fail.");
    let mut extra = vec![
        ("", init::command()),
        ("", init::restore_command()),
        ("", join::command()),
        ("", doctor::command()),
        ("", import::command()),
        ("", launch::command()),
        ("", continuation::command()),
        ("", mcp::command()),
        ("", setup::command()),
        ("", uninstall::command()),
        ("", reference::completions_command()),
        ("", reference::man_command()),
        ("", reference::config_command()),
    ];
    extra.extend(hook::commands().into_iter().map(|command| ("", command)));
    extra.extend(daemon::commands().into_iter().map(|command| ("daemon", command)));
    extra.extend(launch::commands());
    extra.extend(tmux::commands());
    extra.extend(gh::commands());
    operations::add_to(top, extra).mut_subcommand("status", status::complete)
}

/// The tree for what agent CLIs run with each of their tools, or keep running: making all the others takes longer than the
/// rest, and memory that a shim would hold for the length of a session.
fn small_tree() -> Command {
    Command::new("ctxnode").args(world::flags()).subcommands(hook::commands()).subcommand(mcp::command())
}

/// The words of a command, and what was typed after them.
fn typed(matches: &ArgMatches) -> (String, &ArgMatches) {
    let mut words = Vec::new();
    let mut deepest = matches;
    while let Some((word, inner)) = deepest.subcommand() {
        words.push(word);
        deepest = inner;
    }
    (words.join(" "), deepest)
}

fn run(matches: &ArgMatches, env: Environment, screen: Screen) -> Result<ExitCode, Failure> {
    let (words, matches) = typed(matches);
    match words.as_str() {
        "completions" => return reference::completions(matches, &screen).map(code),
        "man" => return reference::man(&screen).map(code),
        // Whatever is wrong with the settings: an agent waits for these.
        "hook" => return Ok(hook::hook(matches, &env, screen)),
        "statusline" => return Ok(status_line::run(matches, &env, screen)),
        "launch" => return Ok(launch::run(matches, env, &screen)),
        _ => {}
    }
    let world = World::look(matches, env, screen)?;
    match words.as_str() {
        // These have a runtime of their own, or need none.
        "daemon run" => return Ok(crate::daemon::run(world.config)),
        "mcp" => return mcp::run(&world),
        "setup" => return setup::run(&world, matches).map(code),
        "continue" => return Ok(continuation::run(&world, matches)),
        "init" => return init::run(&world, matches).map(code),
        "restore" => return init::restore(&world, matches).map(code),
        "config" => return reference::config(&world).map(code),
        "daemon install" => return daemon::install(&world, matches).map(code),
        "daemon uninstall" => return daemon::uninstall(&world, matches).map(code),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = answer(&world, &words, matches) => done,
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
        }
    });
    done.map(code)
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit.code())
}

async fn answer(world: &World, words: &str, matches: &ArgMatches) -> Result<Exit, Failure> {
    match words {
        "daemon start" => daemon::start(world).await,
        "daemon stop" => daemon::stop(world).await,
        "daemon status" => daemon::status(world).await,
        "daemon handover" => daemon::handover(world).await,
        "doctor" => doctor::run(world, matches).await,
        "budget" => hook::budget(world).await,
        "join" => join::run(world, matches).await,
        "uninstall" => uninstall::run(world, matches).await,
        "status" => status::run(world, matches).await,
        "fleet recover" => recover::run(world).await,
        "event watch" => daemon::watch(world, matches).await,
        "import notes" => import::notes(world, matches).await,
        "import docs" => import::docs(world, matches).await,
        "secret check" => launch::check(world, matches).await,
        "secret set" => launch::set(world, matches).await,
        "tmux setup" => tmux::run(world, matches).await,
        "secret identity" => launch::identity(world).await,
        "secret forget" => launch::forget(world, matches).await,
        "gh handoff" => gh::handoff(world, matches).await,
        "gh question" => gh::question(world, matches).await,
        "gh merge" => gh::merge(world, matches).await,
        "worktree list" => launch::worktrees(world).await,
        "worktree remove" => launch::remove(world, matches).await,
        _ => operation(world, words, matches).await,
    }
}

/// Runs the command of an operation.
async fn operation(world: &World, words: &str, matches: &ArgMatches) -> Result<Exit, Failure> {
    let named = |route: &&Route| route.cli == words;
    let Some(route) = ctxnode_api::ROUTES.iter().find(named) else {
        return Err(Failure::Usage { message: "this command does not exist", hint: "`ctxnode --help` lists all" });
    };
    let mut call = arguments::call(route, matches, &world.directory)?;
    if world.screen.person {
        stand_for_a_human(&mut call);
    }
    if let Some((_, question)) = ASKED.iter().find(|(operation, _)| *operation == call.operation) {
        world.confirm(question)?;
    }
    let mut client = world.client().await?;
    if SLOW.contains(&call.operation.as_str()) {
        client = client.with_limit(LONG);
    }
    let pieces = matches!(call.operation.as_str(), "note.get" | "doc.get")
        && call.input.get("offset").is_none()
        && call.input.get("max_chars").is_none()
        && world.screen.form == Form::People;
    let mut body = world.ask(client, &call).await?.body;
    while pieces && let Some(offset) = body.get("next_offset").and_then(Value::as_u64) {
        call.input["offset"] = offset.into();
        let next = world.ask(world.client().await?, &call).await?.body;
        let content = [&body["content"], &next["content"]].map(|piece| piece.as_str().unwrap_or_default().to_owned());
        body["content"] = content.concat().into();
        body["next_offset"] = next["next_offset"].clone();
    }
    match world.screen.form {
        Form::Json => world.screen.print_json(&body)?,
        Form::People => {
            world.screen.print(&show::answer(&world.screen, &call.operation, &body))?;
            // Beside the text, so that a note's text alone goes into a file.
            show::conflicts(&body).iter().for_each(|line| world.screen.notice(line));
            if is_taken_out(&call.operation, &body) {
                world.screen.notice("nothing more goes there or counts from there; what it has copied stays on it");
            }
            let is_shown = call.operation == "invite.create" && !matches.get_flag("no_qr");
            if let Some(picture) =
                body["code"].as_str().filter(|_| is_shown && world.screen.width.is_some()).and_then(qr::picture)
            {
                world.screen.print(&picture)?;
            }
        }
    }
    Ok(exit_of(&call.operation, &body))
}

/// A person at a terminal is the human that agents must ask. An agent at one says by itself that it has asked.
fn stand_for_a_human(call: &mut Call) {
    let (field, value) = match call.operation.as_str() {
        "note.create" | "note.update" | "note.archive" | "note.restore" | "note.resolve" | "note.revert"
        | "record.resolve" => ("human_requested", Value::from(true)),
        "eod" => ("confirmed_by", Value::from("human")),
        _ => return,
    };
    if call.input.get(field).is_none() {
        call.input[field] = value;
    }
}

/// Whether a node was taken out of the fleet, which stops the future only.
fn is_taken_out(operation: &str, body: &Value) -> bool {
    operation == "peer.revoke" || (operation == "machine.retire" && body["node_key"].is_string())
}

/// What the answer means for scripts.
fn exit_of(operation: &str, body: &Value) -> Exit {
    match (operation, body["summary"].as_str(), body["ok"].as_bool()) {
        ("preflight", Some("critical checks failed"), _) | ("node.check", _, Some(false)) => Exit::Failed,
        ("preflight", Some("passed with warnings"), _) => Exit::Warned,
        ("sod", ..) if body["state"] != "valid" => Exit::Failed,
        _ => Exit::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound_and_every_command_says_what_it_does() {
        fn check(command: &Command, path: &str) {
            assert!(command.get_about().is_some(), "{path} has no description");
            for sub in command.get_subcommands() {
                check(sub, &format!("{path} {}", sub.get_name()));
            }
        }
        let tree = tree();
        tree.clone().debug_assert();
        check(&tree, "ctxnode");
    }

    /// M-03: every command that a text of the tree names can be typed.
    #[test]
    fn m_03_every_command_in_a_text_exists() {
        let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let walk = ["node/src", "mcp/src", "launcher/src", "README.md", "bootstrap.sh"].map(|part| root.join(part));
        let files =
            walk.iter().flat_map(|part| ignore::Walk::new(part).flatten()).filter(|entry| entry.path().is_file());
        let tree = tree();
        let mut checked = 0;
        for entry in files {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            for (at, _) in text.match_indices("`ctxnode ") {
                let named = text[at + "`ctxnode ".len()..].split('`').next().unwrap_or_default();
                let words = named
                    .split([' ', '\n'])
                    .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
                let words: Vec<&str> = words.filter(|word| !word.starts_with('-') && !word.is_empty()).collect();
                let mut command = &tree;
                for word in &words {
                    match command.find_subcommand(word) {
                        Some(found) => command = found,
                        // What follows a whole command is an argument.
                        None => {
                            let whole = command.get_subcommands().next().is_none() && command.get_name() != "ctxnode";
                            assert!(whole, "{}: `ctxnode {named}`", entry.path().display());
                            break;
                        }
                    }
                }
                checked += 1;
            }
        }
        assert!(checked > 20, "only {checked} were found");
    }

    #[test]
    fn answers_become_exit_codes() {
        let code = |operation: &str, body| exit_of(operation, &body).code();
        assert_eq!(code("preflight", serde_json::json!({ "summary": "all checks passed" })), 0);
        assert_eq!(code("preflight", serde_json::json!({ "summary": "passed with warnings" })), 2);
        assert_eq!(code("preflight", serde_json::json!({ "summary": "critical checks failed" })), 1);
        assert_eq!(code("node.check", serde_json::json!({ "ok": false })), 1);
        assert_eq!(code("note.list", serde_json::json!({})), 0);
    }
}
