//! `ctxnode setup`: makes agent CLIs know ctxnode, says what differs, or takes it out again.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use ctxnode_api::node::{CheckRow, CheckState};
use ctxnode_launcher::agents::Agent;
use ctxnode_launcher::program::find;
use ctxnode_launcher::setup::{Action, Content, Done, Known, Mode, Places, Report, Scope, SetupError, Trust, known};
use ctxnode_launcher::setup::{json, run as carry_out, toml, usual_scope, wanted};
use ctxnode_launcher::skills::FORMS;
use serde_json::{Value, json};

use super::doctor::check;
use super::failure::{Exit, Failure};
use super::screen::Form;
use super::verify::{exercise, find_registered};
use super::world::World;

pub(super) fn command() -> Command {
    let names = Agent::ALL.map(Agent::name);
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name.replace('_', "-")).action(ArgAction::SetTrue).help(help)
    };
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
            flag(
                "verify",
                "Starts what is registered, as the CLI would, and asks it for its tools; with --all, what is set up",
            )
            .conflicts_with_all(["check", "print", "remove", "scope"]),
        )
        .arg(
            Arg::new("plugin")
                .long("plugin")
                .value_name("DIR")
                .conflicts_with_all(["cli", "all", "scope", "check", "print", "remove", "verify"])
                .help("Writes the plugin of a CLI into a directory instead"),
        )
        .arg(
            Arg::new("form")
                .long("form")
                .value_name("CLI")
                .requires("plugin")
                .value_parser(PossibleValuesParser::new(FORMS.map(Agent::name)))
                .help("Whose plugin: Claude Code's, Codex's, or the extension of Gemini CLI; claude when left out"),
        )
        .arg(flag(
            "wrap_status_line",
            "Adds ours to the status line that you have in Claude Code; --remove gives yours back",
        ))
}

pub(super) fn run(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    if let Some(folder) = matches.get_one::<String>("plugin") {
        let form = matches.get_one::<String>("form").and_then(|name| Agent::of_name(name));
        return plugin(world, folder, form.unwrap_or(FORMS[0]));
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
    let places = Places { wrap_status_line: matches.get_flag("wrap_status_line"), ..places(world) };
    if matches.get_flag("verify") {
        return verify(world, &agents, matches.get_flag("all"), &places);
    }
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
///
/// With `fix`, what differs is set up again.
pub(super) async fn checks(world: &World, fix: bool) -> Vec<CheckRow> {
    let places = places(world);
    let mut rows = Vec::new();
    for agent in Agent::ALL {
        let Some(row) = check_of(world, agent, &places, fix) else { continue };
        let good = row.state != CheckState::Fail;
        rows.push(row);
        // Without a daemon no server answers, and that has a row of its own.
        if good && std::os::unix::net::UnixStream::connect(world.config.paths.mcp_socket()).is_ok() {
            let name = format!("{} MCP", agent.name());
            rows.push(match exercise(world, find_registered(agent, &places).as_ref()).await {
                Ok(heard) => check(&name, CheckState::Pass, format!("{} tools", heard.tools), None),
                Err(deaf) => {
                    let repair = format!("run `ctxnode setup` {} again", agent.name());
                    check(&name, CheckState::Fail, deaf.to_string(), Some(&repair))
                }
            });
        }
    }
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
fn check_of(world: &World, agent: Agent, places: &Places, fix: bool) -> Option<CheckRow> {
    let state_dir = &world.config.paths.state_dir;
    let set_up = known(state_dir);
    let look = |scope, mode| carry_out(&[agent], Some(scope), places, state_dir, mode).ok();
    let scopes = [Scope::User, Scope::Project].into_iter().filter(|s| *s == Scope::User || places.project.is_some());
    let found = scopes.filter_map(|scope| Some((scope, look(scope, Mode::Check)?))).find(|(scope, report)| {
        let project = places.project.clone().filter(|_| *scope == Scope::Project);
        // An entry that was deleted by hand is known by what setup remembers.
        set_up.contains(&Known { agent, project }) || report.server() == Some(Action::Unchanged)
    });
    let name = format!("{} set-up", agent.name());
    let Some((scope, mut report)) = found else {
        // One that is installed and was never set up works beside everybody else without knowing of them.
        let repair = format!("run `ctxnode setup` {}", agent.name());
        let installed = find(agent.name(), &world.env).is_some();
        return installed
            .then(|| check(&name, CheckState::Warn, "it is installed and does not know ctxnode", Some(&repair)));
    };
    if fix && report.differs() && !report.is_broken() {
        // Whether it helped is seen by looking again.
        let _ = look(scope, Mode::Apply);
        report = look(scope, Mode::Check)?;
    }
    let repair = format!("run `ctxnode setup` {} again, or `ctxnode doctor --fix`", agent.name());
    if report.differs() || report.is_broken() {
        let wrong = report.files.iter().find(|done| !matches!(done.action, Action::Unchanged | Action::Kept));
        let path = wrong.map(|done| done.path.display().to_string()).unwrap_or_default();
        if report.server() != Some(Action::Unchanged) {
            let message = format!("its entry of the MCP server is missing or wrong: {path}");
            return Some(check(&name, CheckState::Fail, message, Some(&repair)));
        }
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

/// Starts what the CLIs have registered and says who answers.
fn verify(world: &World, agents: &[Agent], all: bool, places: &Places) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    let mut rows = Vec::new();
    for agent in agents {
        let found = find_registered(*agent, places);
        if all && found.is_none() {
            continue;
        }
        let heard = runtime.block_on(exercise(world, found.as_ref()));
        rows.push(match heard {
            Ok(heard) => {
                json!({ "cli": agent.name(), "answers": true, "tools": heard.tools, "command": heard.command })
            }
            Err(deaf) => json!({ "cli": agent.name(), "answers": false, "problem": deaf.to_string() }),
        });
    }
    let bad = rows.is_empty() || rows.iter().any(|row| row["answers"] == false);
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!({ "items": rows }))?,
        Form::People => {
            let line = |row: &Value| {
                let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
                match row["tools"].as_u64() {
                    Some(tools) => format!("✓ {}: {tools} tools through `{}`", text("cli"), text("command")),
                    None => format!("✗ {0}: {1}\n  type: ctxnode setup {0}", text("cli"), text("problem")),
                }
            };
            let lines: Vec<String> = rows.iter().map(line).collect();
            let none = "no agent CLI has ctxnode registered\n  type: ctxnode setup --all";
            world.screen.print(&if lines.is_empty() { none.to_owned() } else { lines.join("\n") })?;
        }
    }
    Ok(if bad { Exit::Failed } else { Exit::Done })
}

pub(super) fn failed(error: SetupError) -> Failure {
    match error {
        SetupError::NoProject => Failure::Usage {
            message: "project scope needs a git checkout, and this directory is in none",
            hint: "go into a checkout, or leave out --scope project",
        },
        SetupError::File { path, source } => Failure::file(path)(source),
        SetupError::Changing { path } => {
            let busy = "another program wrote it meanwhile; run this again";
            Failure::file(path)(std::io::Error::new(std::io::ErrorKind::ResourceBusy, busy))
        }
    }
}

/// Where the CLIs keep their files, as their own variables say.
fn places(world: &World) -> Places {
    let project = gix::discover(&world.directory).ok().and_then(|found| found.workdir().map(std::path::Path::to_owned));
    places_of(world, project.map(|path| path.canonicalize().unwrap_or(path)))
}

/// The same, seen from a checkout.
pub(super) fn places_of(world: &World, project: Option<std::path::PathBuf>) -> Places {
    let moved = |name: &str| world.env.get(name).filter(|path| !path.is_empty()).map(Into::into);
    Places {
        claude: moved("CLAUDE_CONFIG_DIR"),
        codex: moved("CODEX_HOME"),
        project,
        codex_program: find(Agent::Codex.name(), &world.env),
        ..Places::of(&world.config.paths.home)
    }
}

fn told(report: &Report, mode: Mode) -> String {
    let mut lines = lines(&report.files, mode);
    let word = |trust: &Trust| if trust.confirmed { "trusted" } else { "NOT YET" };
    lines.extend(report.trust.iter().map(|trust| format!("{:<8} {:<6} {}", word(trust), trust.cli, trust.what)));
    lines.extend(report.blockers.iter().map(|line| format!("warning: {line}")));
    if mode == Mode::Apply {
        lines.extend(report.offers.iter().map(|line| format!("note: {line}")));
    }
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
fn plugin(world: &World, folder: &str, form: Agent) -> Result<Exit, Failure> {
    let folder = world.directory.join(folder);
    let files = ctxnode_launcher::skills::plugin(form);
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
