//! `ctxnode setup`: makes agent CLIs know ctxnode, says what differs, or takes it out again.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use ctxnode_api::node::{CheckRow, CheckState};
use ctxnode_launcher::agents::Agent;
use ctxnode_launcher::program::find;
use ctxnode_launcher::setup::{Action, Content, Done, Mode, Places, Report, Scope, SetupError, Trust};
use ctxnode_launcher::setup::{json, run as carry_out, toml, usual_scope, wanted};
use serde_json::{Value, json};

use super::doctor::check;
use super::failure::{Exit, Failure};
use super::screen::Form;
use super::world::World;

pub(super) fn command() -> Command {
    let names = Agent::ALL.map(Agent::name);
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new("setup")
        .about("Sets agent CLIs up: MCP server, hooks, commands, instructions")
        .arg(
            Arg::new("cli")
                .value_name("CLI")
                .num_args(1..)
                .value_parser(PossibleValuesParser::new(names))
                .help("Which"),
        )
        .arg(flag("all", "All of them").conflicts_with("cli"))
        .arg(Arg::new("scope").long("scope").value_name("SCOPE").value_parser(["user", "project"]).help(
            "For this user, or for everybody who clones this checkout; Claude Code in a checkout: project, else user",
        ))
        .arg(flag("check", "Says what differs and changes nothing; exit code 1 when something does"))
        .arg(flag("print", "Prints what belongs where and changes nothing").conflicts_with("check"))
        .arg(flag("remove", "Takes everything out again").conflicts_with_all(["check", "print"]))
        .arg(
            Arg::new("plugin")
                .long("plugin")
                .value_name("DIR")
                .conflicts_with_all(["cli", "all", "scope", "check", "print", "remove"])
                .help("Writes the plugin for Claude Code into a directory instead"),
        )
}

pub(super) fn run(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    if let Some(folder) = matches.get_one::<String>("plugin") {
        return plugin(world, folder);
    }
    let named: Vec<Agent> =
        matches.get_many::<String>("cli").into_iter().flatten().filter_map(|name| Agent::of_name(name)).collect();
    let agents = if matches.get_flag("all") { Agent::ALL.to_vec() } else { named };
    if agents.is_empty() {
        return Err(Failure::Usage {
            message: "which agent CLI?",
            hint: "name some of claude, codex, gemini, agy, or --all",
        });
    }
    let scope = matches.get_one::<String>("scope").map(|word| match word.as_str() {
        "project" => Scope::Project,
        _ => Scope::User,
    });
    let places = places(world);
    if matches.get_flag("print") {
        return print(world, &agents, scope, &places);
    }
    let mode = match (matches.get_flag("check"), matches.get_flag("remove")) {
        (true, _) => Mode::Check,
        (_, true) => Mode::Remove,
        _ => Mode::Apply,
    };
    let report = carry_out(&agents, scope, &places, &world.config.paths.state_dir, mode).map_err(failed)?;
    match world.screen.form {
        Form::Json => {
            let mut value = json!(report);
            value["differs"] = report.differs().into();
            world.screen.print_json(&value)?;
        }
        Form::People => world.screen.print(&told(&report, mode))?,
    }
    let wrong = report.is_broken() || (mode == Mode::Check && report.differs());
    Ok(if wrong { Exit::Failed } else { Exit::Done })
}

/// Looks at the agent CLIs that were set up, and whether somebody confirmed what only a human may.
pub(super) fn checks(world: &World) -> Vec<CheckRow> {
    let places = places(world);
    let mut rows: Vec<CheckRow> = Agent::ALL.into_iter().filter_map(|agent| check_of(world, agent, &places)).collect();
    let dropped = std::fs::read_to_string(world.config.paths.state_dir.join("hooks.dropped"));
    if let Some(count) = dropped.ok().and_then(|text| text.trim().parse::<u64>().ok()) {
        let message = format!("{count} events of agents were lost before a daemon took them");
        rows.push(check(
            "hook spool",
            CheckState::Warn,
            message,
            Some("keep the daemon running: `ctxnode daemon install`"),
        ));
    }
    rows
}

/// `None` for a CLI that is not here.
fn check_of(world: &World, agent: Agent, places: &Places) -> Option<CheckRow> {
    let scopes = [Scope::User, Scope::Project].into_iter().filter(|s| *s == Scope::User || places.project.is_some());
    let mut reports = scopes
        .filter_map(|scope| carry_out(&[agent], Some(scope), places, &world.config.paths.state_dir, Mode::Check).ok());
    let is_set_up = |report: &Report| {
        let mut own = report.files.iter().filter(|done| done.what.starts_with("MCP server"));
        own.any(|done| done.action == Action::Unchanged)
    };
    let name = format!("{} set-up", agent.name());
    let Some(report) = reports.find(is_set_up) else {
        // One that is installed and was never set up works beside everybody else without knowing of them.
        let fix = format!("run `ctxnode setup` {}", agent.name());
        let installed = find(agent.name(), &world.env).is_some();
        return installed
            .then(|| check(&name, CheckState::Warn, "it is installed and does not know ctxnode", Some(&fix)));
    };
    let repair = format!("run `ctxnode setup` {} again", agent.name());
    if report.differs() || report.is_broken() {
        let wrong = report.files.iter().find(|done| !matches!(done.action, Action::Unchanged | Action::Kept));
        let path = wrong.map(|done| done.path.display().to_string()).unwrap_or_default();
        return Some(check(&name, CheckState::Warn, format!("{path} is not as it should be"), Some(&repair)));
    }
    if let Some(blocker) = report.blockers.first() {
        return Some(check(&name, CheckState::Warn, blocker, Some("remove that setting")));
    }
    if let Some(trust) = report.trust.first().filter(|trust| !trust.confirmed) {
        return Some(check(&name, CheckState::Warn, &trust.what, report.confirm.first().map(String::as_str)));
    }
    Some(check(&name, CheckState::Pass, "as it should be", None))
}

pub(super) fn failed(error: SetupError) -> Failure {
    match error {
        SetupError::NoProject => Failure::Usage {
            message: "project scope needs a git checkout, and this directory is in none",
            hint: "go into a checkout, or leave out --scope project",
        },
        SetupError::File { path, source } => Failure::file(path)(source),
    }
}

/// Where the CLIs keep their files, as their own variables say.
fn places(world: &World) -> Places {
    let moved = |name: &str| world.env.get(name).filter(|path| !path.is_empty()).map(Into::into);
    let project = gix::discover(&world.directory).ok().and_then(|found| found.workdir().map(std::path::Path::to_owned));
    Places {
        home: world.config.paths.home.clone(),
        claude: moved("CLAUDE_CONFIG_DIR"),
        codex: moved("CODEX_HOME"),
        project: project.map(|path| path.canonicalize().unwrap_or(path)),
    }
}

fn told(report: &Report, mode: Mode) -> String {
    let mut lines = lines(&report.files, mode);
    let word = |trust: &Trust| if trust.confirmed { "trusted" } else { "NOT YET" };
    lines.extend(report.trust.iter().map(|trust| format!("{:<8} {:<6} {}", word(trust), trust.cli, trust.what)));
    lines.extend(report.blockers.iter().map(|line| format!("warning: {line}")));
    if !report.confirm.is_empty() {
        lines.push("Confirm by hand; ctxnode does not write what you trust:".to_owned());
        lines.extend(report.confirm.iter().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

/// What happened to files, or would; those that are as they should be are counted.
pub(super) fn lines(files: &[Done], mode: Mode) -> Vec<String> {
    let word = |action: Action| match (action, mode) {
        (Action::Unchanged, _) => "same",
        (Action::Created, Mode::Check) => "missing",
        (Action::Changed, Mode::Check) => "differs",
        (Action::Deleted, Mode::Check) => "obsolete",
        (Action::Created, _) => "created",
        (Action::Changed, _) => "changed",
        (Action::Deleted, _) => "deleted",
        (Action::Kept, _) => "kept",
        (Action::Broken, _) => "BROKEN",
    };
    let mut lines: Vec<String> = Vec::new();
    let mut same = 0;
    for done in files {
        if done.action == Action::Unchanged {
            same += 1;
            continue;
        }
        let reason = done.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        lines.push(format!(
            "{:<8} {:<6} {:<20} {}{reason}",
            word(done.action),
            done.cli,
            done.what,
            done.path.display()
        ));
    }
    if same > 0 {
        lines.push(format!("{same} files are as they should be"));
    }
    lines
}

/// Prints what belongs where: only our own values, since the files hold those of others.
fn print(world: &World, agents: &[Agent], scope: Option<Scope>, places: &Places) -> Result<Exit, Failure> {
    let mut items = Vec::new();
    for agent in agents {
        let scope = scope.unwrap_or_else(|| usual_scope(*agent, places));
        for file in wanted(*agent, scope, places) {
            let text = match &file.content {
                Content::Json { dialect, entries } => json::put("", *dialect, entries).unwrap_or_default(),
                Content::Toml(entries) => toml::put("", entries).unwrap_or_default(),
                Content::Block(text) | Content::Whole(text) | Content::FirstLine(text) => format!("{text}\n"),
                Content::Gone => continue,
            };
            items.push(json!({ "cli": agent.name(), "path": file.path, "what": file.what, "content": text }));
        }
    }
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!({ "files": items }))?,
        Form::People => {
            let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
            let shown = items.iter().map(|item| {
                format!(
                    "# {}: {} ({})\n{}",
                    text(item, "cli"),
                    text(item, "path"),
                    text(item, "what"),
                    text(item, "content")
                )
            });
            world.screen.print(&shown.collect::<Vec<_>>().join("\n"))?;
        }
    }
    Ok(Exit::Done)
}

/// Writes the plugin. The directory is the caller's; files of the plugin are replaced.
fn plugin(world: &World, folder: &str) -> Result<Exit, Failure> {
    let folder = world.directory.join(folder);
    let files = ctxnode_launcher::skills::plugin();
    for (path, text) in &files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(Failure::file(parent))?;
        }
        std::fs::File::create(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .map_err(Failure::file(&path))?;
    }
    let text = format!("{} files of the plugin in {}", files.len(), folder.display());
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!({ "files": files.len(), "directory": folder }))?,
        Form::People => world.screen.print(&text)?,
    }
    Ok(Exit::Done)
}
