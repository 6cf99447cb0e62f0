//! The launcher as commands: `launch` is the launcher itself; secrets and worktrees without starting an agent.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ctxnode_config::{Environment, Platform};
use ctxnode_launcher::execute::secrets;
use ctxnode_launcher::options::Surroundings;
use ctxnode_launcher::refusal::Refusal;
use ctxnode_launcher::secrets::keychain::Keychain;
use ctxnode_launcher::secrets::{CREDENTIALS_ITEM, Secret, cache, read_credentials};
use ctxnode_launcher::{checkout, screen, worktree, world};
use serde_json::json;
use zeroize::Zeroizing;

use super::failure::{Exit, Failure};
use super::screen::{Form, Screen};
use super::world::World;

pub(super) fn command() -> Command {
    Command::new("launch")
        .about("Starts a coding agent on a venture; the same as the program `launcher`")
        .arg(
            Arg::new("arguments")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_parser(value_parser!(OsString))
                .value_name("ARGUMENTS")
                .help("Arguments of the launcher; --help lists them"),
        )
        // The launcher has its own.
        .disable_help_flag(true)
}

/// The commands below nouns.
pub(super) fn commands() -> Vec<(&'static str, Command)> {
    let name = || Arg::new("name").required(true).value_name("NAME").help("The name of the variable");
    let venture = || Arg::new("venture").long("venture").required(true).value_name("CODE").help("The venture");
    let check = "Tells whether a venture has a secret, and a short hash; never the value";
    let set = "Stores a secret at the venture's provider; the value comes from stdin or a hidden prompt";
    let identity = "Keeps the machine identity of Infisical in the keychain; two lines on stdin: client_id=... and client_secret=...";
    let forget =
        "Deletes from the keychain what ctxnode keeps there: the secrets of a venture, or the machine identity";
    let flag = Arg::new("identity").long("identity").action(ArgAction::SetTrue).help("The machine identity");
    let path = Arg::new("path").required(true).value_name("PATH").help("The worktree");
    vec![
        ("secret", Command::new("check").about(check).arg(name()).arg(venture())),
        ("secret", Command::new("set").about(set).arg(name()).arg(venture())),
        ("secret", Command::new("identity").about(identity)),
        (
            "secret",
            Command::new("forget")
                .about(forget)
                .arg(flag)
                .arg(venture().required(false).required_unless_present("identity")),
        ),
        ("worktree", Command::new("list").about("Lists the worktrees of this repository and who works in them")),
        (
            "worktree",
            Command::new("remove").about("Removes a session's worktree when it is clean and pushed").arg(path),
        ),
    ]
}

/// Runs the launcher in this process.
pub(super) fn run(matches: &ArgMatches, env: Environment, screen: &Screen) -> std::process::ExitCode {
    let typed = matches.get_many::<OsString>("arguments").into_iter().flatten().cloned();
    let json = (screen.form == Form::Json).then(|| OsString::from("--json"));
    ctxnode_launcher::launcher(std::iter::once("launcher".into()).chain(json).chain(typed).collect(), env)
}

pub(super) fn launcher_world(world: &World) -> world::World {
    let around =
        Surroundings { env: world.env.clone(), directory: world.directory.clone(), program: world.program.clone() };
    world::World { around, config: world.config.clone(), screen: screen::Screen::detect(false) }
}

pub(super) async fn check(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let [name, venture] = ["name", "venture"].map(|id| matches.get_one::<String>(id).map_or("", String::as_str));
    let checked = secrets::check(&launcher_world(world), name, venture).await?;
    let text = match &checked.hash {
        Some(hash) => format!("{name} of {}: present, {hash}", checked.venture),
        None => format!("{name} of {}: absent", checked.venture),
    };
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!(checked))?,
        Form::People => world.screen.print(&text)?,
    }
    Ok(if checked.present { Exit::Done } else { Exit::Failed })
}

pub(super) async fn set(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let [name, venture] = ["name", "venture"].map(|id| matches.get_one::<String>(id).map_or("", String::as_str));
    let inner = launcher_world(world);
    let value = inner.screen.read_hidden(&format!("{name}:")).map_err(Failure::file("stdin"))?;
    if value.is_empty() {
        return Err(Failure::Usage {
            message: "there is no value on stdin",
            hint: "pipe it in, or type it when asked",
        });
    }
    secrets::set(&inner, name, venture, &Secret::from(value)).await?;
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!({ "name": name, "venture": venture, "stored": true }))?,
        Form::People => world.screen.print(&format!("{name} of {venture}: stored"))?,
    }
    Ok(Exit::Done)
}

fn keychain(world: &World) -> Result<Keychain, Failure> {
    Ok(Keychain::find(Platform::current(), &world.env).map_err(Refusal::from)?)
}

/// Keeps the machine identity in the keychain.
pub(super) async fn identity(world: &World) -> Result<Exit, Failure> {
    let inner = launcher_world(world);
    let text = if inner.screen.can_ask {
        let mut text = Zeroizing::new(String::new());
        for name in ["client_id", "client_secret"] {
            let value = inner.screen.read_hidden(&format!("{name}:")).map_err(Failure::file("stdin"))?;
            text.push_str(name);
            text.push('=');
            text.push_str(&value);
            text.push('\n');
        }
        text
    } else {
        inner.screen.read_hidden("").map_err(Failure::file("stdin"))?
    };
    if read_credentials(&text).is_none() {
        return Err(Failure::Usage {
            message: "that is no machine identity",
            hint: "give two lines on stdin: client_id=... and client_secret=...",
        });
    }
    keychain(world)?.put(CREDENTIALS_ITEM, &Secret::from(text)).await.map_err(Refusal::from)?;
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!({ "stored": true }))?,
        Form::People => world.screen.print("the keychain has the machine identity")?,
    }
    Ok(Exit::Done)
}

/// Deletes what lies in the keychain.
pub(super) async fn forget(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let keychain = keychain(world)?;
    let venture = matches.get_one::<String>("venture").map(|venture| cache::item(&venture.to_lowercase()));
    let identity = matches.get_flag("identity").then(|| CREDENTIALS_ITEM.to_owned());
    for item in identity.into_iter().chain(venture) {
        keychain.remove(&item).await.map_err(Refusal::from)?;
    }
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!({ "forgotten": true }))?,
        Form::People => world.screen.print("the keychain does not have it any more")?,
    }
    Ok(Exit::Done)
}

pub(super) async fn worktrees(world: &World) -> Result<Exit, Failure> {
    let all = worktree::list(&checkout::Git::at(&world.directory)).await?;
    let state = |tree: &worktree::Worktree| match (tree.living_holder(), &tree.locked) {
        (Some(holder), _) => format!("in use by process {}", holder.pid),
        (None, Some(_)) => "its session ended without a word".to_owned(),
        (None, None) if tree.is_main => "the checkout".to_owned(),
        (None, None) => "free".to_owned(),
    };
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!(
            all.iter()
                .map(|tree| json!({
                    "path": tree.path, "branch": tree.branch, "is_main": tree.is_main, "is_ours": tree.is_ours(),
                    "pid": tree.living_holder().map(|holder| holder.pid), "locked": tree.locked,
                }))
                .collect::<Vec<_>>()
        ))?,
        Form::People => {
            let rows = all
                .iter()
                .map(|tree| [tree.path.display().to_string(), tree.branch.clone().unwrap_or_default(), state(tree)]);
            world.screen.print(&world.screen.table(&["worktree", "branch", "state"], rows))?;
        }
    }
    Ok(Exit::Done)
}

pub(super) async fn remove(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let typed = matches.get_one::<String>("path").map_or("", String::as_str);
    let path = world.directory.join(typed);
    worktree::remove(&checkout::Git::at(&world.directory), &path).await?;
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!({ "path": path, "removed": true }))?,
        Form::People => world.screen.print(&format!("removed {}", path.display()))?,
    }
    Ok(Exit::Done)
}
