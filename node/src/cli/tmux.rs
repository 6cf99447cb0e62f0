//! `ctxnode tmux setup`: the settings of tmux that a phone, a copied text and true colour need.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ctxnode_api::node::{CheckRow, CheckState};
use ctxnode_launcher::program::{Program, find};
use ctxnode_launcher::setup::{Action, Mode, run_files};
use ctxnode_launcher::terminal::settings::wanted;
use ctxnode_launcher::terminal::terminfo::{Known, Terminfo};
use serde_json::json;

use super::doctor::check;
use super::failure::{Exit, Failure};
use super::screen::Form;
use super::setup;
use super::world::World;

pub(super) const NAME: &str = "tmux";
/// How long a program may take to answer a question.
const LIMIT: Duration = Duration::from_secs(5);

/// The commands below the noun.
pub(super) fn commands() -> Vec<(&'static str, Command)> {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let command = Command::new("setup")
        .about("Writes tmux's settings for phones, copied texts and true colour; yours, below them, win")
        .arg(flag("check", "Says what differs and changes nothing; exit code 1 when something does"))
        .arg(flag("remove", "Takes everything out again").conflicts_with("check"));
    vec![(NAME, command)]
}

pub(super) async fn run(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let mode = match (matches.get_flag("check"), matches.get_flag("remove")) {
        (true, _) => Mode::Check,
        (_, true) => Mode::Remove,
        _ => Mode::Apply,
    };
    let home = &world.config.paths.home;
    let files = run_files(NAME, NAME, wanted(home), &world.config.paths.state_dir, mode).map_err(setup::failed)?;
    let terminals = terminals(&Terminfo::of(home, &world.env), mode).await;
    let differs = files.iter().any(|done| matches!(done.action, Action::Created | Action::Changed | Action::Deleted));
    let missing = terminals.iter().any(|(_, state)| *state == "missing");
    let mut notes = Vec::new();
    if mode == Mode::Apply {
        notes.extend(find(NAME, &world.env).is_none().then_some("tmux is not installed yet"));
        notes.extend(missing.then_some("tic is not installed, so that a terminal stays without a description"));
        notes.extend(differs.then_some("a tmux that runs takes it with: tmux source-file ~/.tmux.conf"));
    }
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!({
            "files": files, "differs": differs || (mode == Mode::Check && missing), "notes": notes,
            "terminals": terminals.iter().map(|(name, state)| json!({ "name": name, "state": state })).collect::<Vec<_>>(),
        }))?,
        Form::People => {
            let mut lines = setup::lines(&files, mode);
            lines.extend(terminals.iter().filter(|(_, state)| *state != "known").map(|(name, state)| format!("{state:<8} terminal {name}")));
            lines.extend(notes.iter().map(|note| format!("note: {note}")));
            world.screen.print(&lines.join("\n"))?;
        }
    }
    let broken = files.iter().any(|done| matches!(done.action, Action::Broken));
    Ok(if broken || (mode == Mode::Check && (differs || missing)) { Exit::Failed } else { Exit::Done })
}

async fn terminals(terminfo: &Terminfo, mode: Mode) -> Vec<(&'static str, &'static str)> {
    if mode == Mode::Remove {
        return terminfo.forget().into_iter().map(|name| (name, "deleted")).collect();
    }
    let mut all = Vec::new();
    for (name, known) in terminfo.look().await {
        all.push(match known {
            Known::Already | Known::Ours => (name, "known"),
            Known::Not if mode == Mode::Apply && terminfo.describe(name).await => (name, "created"),
            Known::Not => (name, "missing"),
        });
    }
    all
}

/// What doctor says about terminals: tmux, the clipboard through it, and mosh.
pub(super) async fn checks(world: &World) -> Vec<CheckRow> {
    let mut rows = Vec::new();
    if find(NAME, &world.env).is_some() {
        rows.push(match running_keeps_clipboard(world).await {
            true => check(
                NAME,
                CheckState::Warn,
                "the tmux that runs keeps copied texts to itself: set-clipboard is off",
                Some("tmux source-file ~/.tmux.conf, after `ctxnode tmux setup`"),
            ),
            false => settings(world),
        });
    }
    rows.push(mosh(world).await);
    rows.push(locale(world));
    rows
}

/// Settings on the disk say nothing about a server that was started before them.
async fn running_keeps_clipboard(world: &World) -> bool {
    if world.env.get("TMUX").is_none_or(str::is_empty) {
        return false;
    }
    let done = Program::new(NAME, ["show-options", "-sv", "set-clipboard"]).run(LIMIT).await;
    done.is_ok_and(|done| done.output.trim_ascii() == b"off")
}

/// OSC 52 is how a text that was copied on another machine reaches the clipboard of this one.
fn settings(world: &World) -> CheckRow {
    let home = &world.config.paths.home;
    let fix = Some("run `ctxnode tmux setup`");
    match run_files(NAME, NAME, wanted(home), &world.config.paths.state_dir, Mode::Check) {
        Ok(files) if files.iter().all(|done| done.action == Action::Unchanged) => check(
            NAME,
            CheckState::Pass,
            "settings as they should be; a copied text goes to the terminal (OSC 52)",
            None,
        ),
        Ok(files) if files.iter().any(|done| done.action == Action::Kept) => {
            check(NAME, CheckState::Warn, "the settings of ctxnode were changed by hand and kept", fix)
        }
        Ok(_) => check(
            NAME,
            CheckState::Warn,
            "without ctxnode's settings a text copied in it may not reach your clipboard (OSC 52)",
            fix,
        ),
        Err(error) => check(NAME, CheckState::Warn, error.to_string(), fix),
    }
}

/// The first version of mosh that passes a copied text on.
const CLIPBOARD_SINCE: (u32, u32) = (1, 4);

async fn mosh(world: &World) -> CheckRow {
    let fix = "install mosh 1.4 or newer: apt-get install mosh, brew install mosh";
    let Some(server) = find("mosh-server", &world.env) else {
        return check(
            "mosh",
            CheckState::Warn,
            "not installed: from a phone, ssh breaks with each change of network",
            Some(fix),
        );
    };
    let done = Program::new(server, ["--version"]).run(LIMIT).await;
    let text = done.map(|done| {
        let both = [done.output.as_slice(), done.errors.as_slice()].concat();
        String::from_utf8_lossy(&both).into_owned()
    });
    match text.ok().as_deref().and_then(version) {
        Some(found) if found >= CLIPBOARD_SINCE => {
            check("mosh", CheckState::Pass, format!("{}.{}, passes copied texts on", found.0, found.1), None)
        }
        Some(found) => {
            let message = format!("{}.{} does not pass copied texts on", found.0, found.1);
            check("mosh", CheckState::Warn, message, Some(fix))
        }
        None => check("mosh", CheckState::Warn, "does not say its version", Some(fix)),
    }
}

/// Reads `mosh-server (mosh 1.4.0) [...]`.
fn version(text: &str) -> Option<(u32, u32)> {
    let at = text.find("mosh ")? + "mosh ".len();
    let mut parts = text[at..].split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// mosh refuses to start without it, and boxes and names would be question marks.
fn locale(world: &World) -> CheckRow {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| world.env.get(name).filter(|value| !value.is_empty()));
    let is_utf8 = set.is_some_and(|value| {
        let value = value.to_lowercase();
        value.contains("utf-8") || value.contains("utf8")
    });
    let message = set.map_or("none is set".to_owned(), str::to_owned);
    let state = if is_utf8 { CheckState::Pass } else { CheckState::Warn };
    check("locale", state, message, Some("set one of UTF-8 in your shell's profile: export LANG=C.UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_mosh_is_read() {
        assert_eq!(version("mosh-server (mosh 1.4.0) [build mosh 1.4.0]\nCopyright"), Some((1, 4)));
        assert_eq!(version("mosh 1.3.2"), Some((1, 3)));
        assert_eq!(version("usage: mosh-server"), None);
        assert!((1, 10) >= CLIPBOARD_SINCE && (1, 3) < CLIPBOARD_SINCE);
    }
}
