//! From a venture's code to a started agent: the plan of a launch, and carrying it out; the secrets on the way; the
//! session's own worktree; the tmux session around it. And what agent CLIs need to know ctxnode: how each is set up, its
//! commands, and what its hooks say.
//!
//! `plan` decides from values alone and is what `--dry-run` prints; `execute` does it. Never here: the store, MCP, rules
//! about records. What the launcher knows of ventures it asks the daemon, like any client.

pub mod agents;
pub mod checkout;
pub mod continuation;
pub mod execute;
pub mod hooks;
pub mod known;
pub mod list;
pub mod options;
pub mod plan;
pub mod process;
pub mod program;
pub mod refusal;
pub mod screen;
pub mod secrets;
pub mod setup;
pub mod skills;
pub mod terminal;
pub mod worktree;
pub mod world;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use ctxnode_config::Environment;
use execute::Exit;
use options::{Options, SessionOptions, Surroundings};
use refusal::{Refusal, Step};
use screen::Screen;
use world::{Autostart, World};

/// What a command line answers that was typed wrongly.
const BAD_USAGE: Exit = 2;

/// Runs the launcher; `arguments` begin with the name that was typed.
#[must_use]
pub fn launcher(arguments: Vec<OsString>, env: Environment) -> ExitCode {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => return usage(&error),
    };
    let screen = Screen::detect(options.debug);
    ExitCode::from(run(&options, env, screen).unwrap_or_else(|refusal| refused(screen, &options, &refusal)))
}

/// Runs `dev-session`.
#[must_use]
pub fn dev_session(arguments: Vec<OsString>, env: Environment) -> ExitCode {
    let options = match SessionOptions::read(arguments) {
        Ok(options) => options,
        // Without a venture it is 1, as for one that does not exist.
        Err(error) if error.kind() == clap::error::ErrorKind::MissingRequiredArgument => {
            let _ = error.print();
            return ExitCode::from(1);
        }
        Err(error) => return usage(&error),
    };
    let screen = Screen::detect(false);
    match enter(&options, env, screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => ExitCode::from(say(screen, &refusal)),
    }
}

/// Runs `ctxnode continue`.
#[must_use]
pub fn go_on(world: World, asked: &continuation::Asked) -> ExitCode {
    let screen = world.screen;
    let done = runtime().and_then(|runtime| continuation::run(world, asked, &runtime));
    ExitCode::from(done.unwrap_or_else(|refusal| {
        if asked.json {
            screen.print(&as_json(&refusal));
        }
        say(screen, &refusal)
    }))
}

fn usage(error: &clap::Error) -> ExitCode {
    // Help and version come this way too. Without a place to print to, the exit code says all.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { BAD_USAGE } else { 0 })
}

/// Looks at where this process runs.
///
/// # Errors
/// When the working directory or the program cannot be named.
pub fn surroundings(env: Environment) -> Result<Surroundings, Refusal> {
    let cannot = |program: &str| {
        let program = program.into();
        move |source| Refusal::Run { step: Step::Spawn, program, source }
    };
    let directory = std::env::current_dir().map_err(cannot("the working directory"))?;
    let program = std::env::current_exe().map_err(cannot("launcher"))?;
    Ok(Surroundings { env, directory, program })
}

/// Returns the runtime on which everything waits: one thread, since a launch does one thing after the other.
///
/// # Errors
/// When the system refuses.
pub fn runtime() -> Result<tokio::runtime::Runtime, Refusal> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|source| Refusal::Run { step: Step::Spawn, program: "the runtime".into(), source })
}

fn run(options: &Options, env: Environment, screen: Screen) -> Result<Exit, Refusal> {
    let world = World::look(surroundings(env)?, screen)?;
    let runtime = runtime()?;
    if options.list {
        return runtime.block_on(list_all(&world, options)).map(|()| 0);
    }
    if options.secrets_audit {
        return runtime.block_on(audit(&world, options));
    }
    let venture = match &options.venture {
        Some(code) => code.clone(),
        None if screen.can_ask => {
            let known = runtime.block_on(world.known(Autostart::Allowed))?;
            match execute::menu(&world, &known.ventures.items) {
                Some(code) => code,
                None => return Err(Refusal::Declined(Step::Venture)),
            }
        }
        None => {
            screen.say(&Options::command().render_usage().to_string());
            return Ok(BAD_USAGE);
        }
    };
    execute::launch(&world, options, &venture, &runtime)
}

async fn list_all(world: &World, options: &Options) -> Result<(), Refusal> {
    let ventures = world.known(Autostart::Allowed).await?.ventures;
    let text = if options.json {
        serde_json::to_string_pretty(&ventures).unwrap_or_default()
    } else {
        list::listing(&ventures.items, &checkout::find(&world.config.dev_dirs, &world.around.directory))
    };
    world.screen.print(&text);
    Ok(())
}

async fn audit(world: &World, options: &Options) -> Result<Exit, Refusal> {
    use execute::secrets::Audit;
    use secrets::audit::Standing;
    let mode = if options.fix { Audit::Fix } else { Audit::Look };
    let findings = execute::secrets::audit(world, mode).await?;
    if options.json {
        world.screen.print(&serde_json::to_string_pretty(&findings).unwrap_or_default());
    } else {
        for finding in &findings {
            let standing = match finding.standing {
                Standing::Equal => "equal",
                Standing::Missing if options.fix => "missing, copied",
                Standing::Missing => "missing",
                Standing::Different => "different",
            };
            world.screen.print(&format!("{}  {}  {standing}", finding.venture, finding.name));
        }
    }
    let is_good = |standing| standing == Standing::Equal || (options.fix && standing == Standing::Missing);
    Ok(if findings.iter().all(|finding| is_good(finding.standing)) { 0 } else { 1 })
}

fn refused(screen: Screen, options: &Options, refusal: &Refusal) -> Exit {
    if options.json {
        screen.print(&as_json(refusal));
    }
    say(screen, refusal)
}

fn as_json(refusal: &Refusal) -> String {
    let error = serde_json::json!({ "step": refusal.step().name(), "message": refusal.why(), "hint": refusal.fix() });
    serde_json::to_string_pretty(&error).unwrap_or_default()
}

/// Says which step could not be done, why, and what to do.
fn say(screen: Screen, refusal: &Refusal) -> Exit {
    screen.say(&format!("error: {}: {}\nhint: {}", refusal.step().name(), refusal.why(), refusal.fix()));
    1
}

fn enter(options: &SessionOptions, env: Environment, screen: Screen) -> Result<(), Refusal> {
    let inside = env.get("TMUX").is_some();
    let world = World::look(surroundings(env)?, screen)?;
    // A session of a misspelt venture would only hold an error.
    let venture = runtime()?.block_on(async {
        let known = world.known(Autostart::Allowed).await?;
        plan::venture::find(&options.venture, &known.ventures.items).map(|venture| venture.code.clone())
    })?;
    let beside = world.around.program.with_file_name("launcher");
    let launcher = if beside.is_file() { beside } else { "launcher".into() };
    let session = terminal::Session { venture: &venture, launcher: &launcher, options: &options.launcher, inside };
    session.enter(&screen, &world.around.env)
}
