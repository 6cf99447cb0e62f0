//! A launch, step by step: thin code that gathers what the plan needs, and carries the plan out.
//!
//! Not here: decisions; those are in `plan`, `checkout::decide`, `secrets::decide`.

mod farewell;
mod github;
mod heal;
mod keychain;
mod register;
pub mod secrets;
mod session;
mod spawn;
mod update;

use std::path::{Path, PathBuf};
use std::time::Instant;

use ctxnode_api::operations::VentureView;
use ctxnode_config::Platform;

use crate::checkout::{self, clone};
use crate::known::Known;
use crate::options::Options;
use crate::plan::{self, Inputs, Plan, Work};
use crate::refusal::{Refusal, Step};
use crate::secrets::{self as provider, Secrets};
use crate::terminal::title;
use crate::worktree::{self, Held, Wanted};
use crate::world::{Autostart, World};

/// How a call ended: the exit code of the process.
pub type Exit = u8;

/// What is known before the agent is started. What ctxnode itself could not do by then was said, and stops nothing: the steps
/// that end a launch are those whose absence the agent's work would feel (its program, checkout, worktree and secrets).
struct Ready {
    plan: Plan,
    directory: PathBuf,
    secrets: Secrets,
    without: Vec<&'static str>,
}

/// Launches the agent, or shows the plan.
///
/// # Errors
/// The first step that cannot be done; no agent was started then.
pub fn launch(
    world: &World,
    options: &Options,
    venture: &str,
    runtime: &tokio::runtime::Runtime,
) -> Result<Exit, Refusal> {
    let image = heal::Image::of(&world.around.program);
    let ready = runtime.block_on(prepare(world, options, venture, &image))?;
    let Ready { plan, directory, secrets, without } = match ready {
        Prepared::Shown => return Ok(0),
        Prepared::Ready(ready) => *ready,
    };
    let child = spawn::Child {
        program: &plan.program,
        arguments: &plan.arguments,
        directory: &directory,
        secrets: &secrets,
        without: &without,
    };
    let titled = runtime.block_on(title(world, &plan, &directory));
    let mut running = match child.start() {
        Ok(running) => running,
        Err(refusal) => {
            title::restore(&world.around.env).iter().for_each(|text| world.screen.obey(text));
            return Err(refusal);
        }
    };
    let code = running.wait();
    if titled {
        title::restore(&world.around.env).iter().for_each(|text| world.screen.obey(text));
    }
    runtime.block_on(farewell::say(world, &plan, &directory));
    if let Work::Worktree { .. } = plan.work {
        runtime.block_on(worktree::release(&plan.checkout, &directory));
    }
    Ok(code)
}

/// Names venture, branch and agent in the title of the terminal. Returns whether there is one.
async fn title(world: &World, plan: &Plan, directory: &Path) -> bool {
    let branch = checkout::Git::at(directory).run(["branch", "--show-current"]).await.unwrap_or_default();
    let text = title::set(&world.around.env, &[&plan.venture, &branch, plan.agent.name()]);
    text.iter().for_each(|text| world.screen.obey(text));
    text.is_some()
}

enum Prepared {
    Shown,
    Ready(Box<Ready>),
}

async fn prepare(world: &World, options: &Options, venture: &str, image: &heal::Image) -> Result<Prepared, Refusal> {
    let mut clock = Clock::new(world);
    let variable = world.around.env.get(plan::agent::VARIABLE);
    let programs = world.programs();
    plan::program(options, variable, &programs)?;
    let start = if options.dry_run { Autostart::Never } else { Autostart::Allowed };
    let Known { ventures, build, daemon } = world.known(start).await?;
    clock.step("ventures");
    let (machine, unread) = match world.machine() {
        Ok(machine) => (machine, None),
        Err(refusal) => (provider::MachineFile::default(), Some(refusal)),
    };
    let gather = || checkout::find(&world.config.dev_dirs, &world.around.directory);
    let inputs = |checkouts: &[checkout::Checkout]| {
        plan::plan(&Inputs {
            options,
            agent_variable: variable,
            programs: &programs,
            venture,
            ventures: &ventures.items,
            checkouts,
            dev_dirs: &world.config.dev_dirs,
            directory: &world.around.directory,
            machine: &machine,
            remote: world.is_remote(),
        })
    };
    let planned = match inputs(&gather()) {
        Err(Refusal::NoCheckout { code, repo: Some(repo), dev_dirs }) if world.screen.can_ask && !options.dry_run => {
            offer_clone(world, &code, &repo, &dev_dirs)?;
            inputs(&gather())
        }
        other => other,
    };
    let plan = with_machine_file(planned, unread, world)?;
    clock.step("plan");
    if options.dry_run {
        let json = || serde_json::to_string_pretty(&plan).unwrap_or_default();
        world.screen.print(&if options.json { json() } else { plan.show() });
        return Ok(Prepared::Shown);
    }
    for notice in &plan.notices {
        world.screen.say(&format!("note: {notice}"));
    }
    update::bring_forward(world, &plan).await;
    clock.step("checkout");
    let (env, screen) = (&world.around.env, &world.screen);
    keychain::unlock(Platform::current(), world.is_remote(), plan.agent, env, screen).await?;
    let mut secrets = fetch_secrets(world, &plan, &machine).await?;
    let without = github::dead_tokens(world, &mut secrets, plan.secrets.as_ref()).await;
    clock.step("secrets");
    // Before a worktree is locked: the new program has the same process, and would find itself in it.
    if !options.replaced && image.was_replaced() {
        world.screen.say("note: the launcher was replaced while it ran; the new one takes over");
        let why = image.run_again().why();
        world.screen.say(&format!("note: the new launcher does not start ({why}); this one goes on"));
    }
    // Before the registration: that one is for the folder in which the agent works.
    let held = if options.take_over { Held::TakeOver } else { Held::Refuse };
    let directory = own_directory(world, &plan, held).await?;
    if plan.continues.is_some() && directory != plan.checkout {
        update::bring_branch_forward(world, &directory).await;
    }
    clock.step("worktree");
    register::register(world, plan.agent, &directory).await;
    clock.step("setup");
    heal::link(world);
    heal::hand_over(world, build.as_deref()).await;
    clock.step("self-heal");
    session::expect(world, &plan, daemon).await;
    clock.step("session");
    Ok(Prepared::Ready(Box::new(Ready { plan, directory, secrets, without })))
}

/// A file about secrets that cannot be used ends a launch that needs it, and no other.
fn with_machine_file(planned: Result<Plan, Refusal>, unread: Option<Refusal>, world: &World) -> Result<Plan, Refusal> {
    match (planned, unread) {
        (Err(Refusal::Secrets(_)), Some(refusal)) => Err(refusal),
        (Ok(plan), Some(refusal)) if plan.secrets.is_some() => Err(refusal),
        (Ok(plan), Some(refusal)) => {
            let (why, fix) = (refusal.why(), refusal.fix());
            world.screen.say(&format!("note: {why} ({fix}); going on, since `{}` keeps no secrets", plan.venture));
            Ok(plan)
        }
        (planned, _) => planned,
    }
}

fn offer_clone(world: &World, code: &str, repo: &str, dev_dirs: &[PathBuf]) -> Result<(), Refusal> {
    let missing =
        || Refusal::NoCheckout { code: code.to_owned(), repo: Some(repo.to_owned()), dev_dirs: dev_dirs.to_vec() };
    let into = clone::target(repo, dev_dirs).ok_or_else(missing)?;
    if !world.screen.confirm(&format!("{code} is not on this machine. Clone {repo} into {}?", into.display())) {
        return Err(missing());
    }
    clone::clone(repo, &into)
}

async fn fetch_secrets(world: &World, plan: &Plan, machine: &provider::MachineFile) -> Result<Secrets, Refusal> {
    let Some(source) = &plan.secrets else { return Ok(Secrets::default()) };
    let mut machine = machine.clone();
    if machine.infisical.project.is_none() {
        machine.infisical.project = secrets::project_of(&plan.checkout).or_else(|| {
            // A checkout that lacks the file has the project of another checkout of its venture.
            let all = checkout::find(&world.config.dev_dirs, &world.around.directory);
            secrets::project_beside(&plan.repo, &plan.checkout, &all)
        });
    }
    let env = &world.around.env;
    let answer = provider::fetch(source, env, &machine, &plan.checkout).await;
    let secrets = keychain::with_cache(answer, source, &machine, world).await?;
    let names: Vec<&str> = secrets.names().collect();
    world.screen.say(&format!("secrets: {} from {} ({})", names.len(), source.provider.name(), names.join(", ")));
    Ok(secrets)
}

async fn own_directory(world: &World, plan: &Plan, held: Held) -> Result<PathBuf, Refusal> {
    let Work::Worktree { branch } = &plan.work else { return Ok(plan.checkout.clone()) };
    let instance = instance()?;
    let host = crate::process::machine_part();
    let wanted = Wanted { checkout: &plan.checkout, instance: &instance, branch: branch.as_deref(), host: &host, held };
    let given = worktree::take(&wanted).await?;
    world.screen.say(&format!("worktree: {} on {}", given.path.display(), given.branch));
    if given.path != plan.checkout {
        copy_project_file(&plan.checkout, &given.path);
    }
    Ok(given.path)
}

/// The Infisical project file is often ignored by git, so that a new worktree lacks it. Failure is not fatal.
fn copy_project_file(from: &Path, to: &Path) {
    let name = ".infisical.json";
    if from.join(name).is_file() && !to.join(name).exists() {
        let _ = std::fs::copy(from.join(name), to.join(name));
    }
}

/// Returns eight characters that no other worktree of this machine has.
fn instance() -> Result<String, Refusal> {
    let mut bytes = [0_u8; 5];
    getrandom::fill(&mut bytes).map_err(|error| Refusal::Run {
        step: Step::Worktree,
        program: "the system's random source".into(),
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase())
}

/// Returns the venture that a person chooses from a menu.
#[must_use]
pub fn menu(world: &World, ventures: &[VentureView]) -> Option<String> {
    if ventures.is_empty() {
        return None;
    }
    for (index, venture) in ventures.iter().enumerate() {
        world.screen.say(&format!("  {}  {}  {}", index + 1, venture.code, venture.name));
    }
    loop {
        let line = world.screen.ask("Which venture?")?;
        match plan::venture::of_choice(&line, ventures) {
            Some(found) => return Some(found.code.clone()),
            None if line.is_empty() => return None,
            None => world.screen.say("give its number or its code"),
        }
    }
}

/// How long each step took, for `--debug`.
struct Clock<'a> {
    world: &'a World,
    last: Instant,
}

impl<'a> Clock<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, last: Instant::now() }
    }

    fn step(&mut self, name: &str) {
        self.world.screen.debug(&format!("{name} took {} ms", self.last.elapsed().as_millis()));
        self.last = Instant::now();
    }
}
