//! What describes the command line itself: completions, the man page, the reference in Markdown, the settings.

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use serde_json::json;

use super::failure::{Exit, Failure};
use super::screen::{Form, Screen};
use super::world::World;

pub(super) fn completions_command() -> Command {
    Command::new("completions")
        .about("Prints completions for a shell")
        .arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell)))
}

pub(super) fn man_command() -> Command {
    Command::new("man").about("Prints the manual page (read it with `ctxnode man | man -l -`)")
}

pub(super) fn config_command() -> Command {
    Command::new("config").about("Shows every setting and who set it")
}

pub(super) fn completions(matches: &ArgMatches, screen: &Screen) -> Result<Exit, Failure> {
    let Some(shell) = matches.get_one::<Shell>("shell") else { return Ok(Exit::Done) };
    let mut text = Vec::new();
    clap_complete::generate(*shell, &mut super::tree(), "ctxnode", &mut text);
    screen.print_exactly(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}

pub(super) fn man(screen: &Screen) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(super::tree()).render(&mut text).map_err(Failure::Output)?;
    screen.print_exactly(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}

pub(super) fn config(world: &World) -> Result<Exit, Failure> {
    let rows = world.config.explain();
    match world.screen.form {
        Form::Json => {
            let list: Vec<_> = rows
                .iter()
                .map(|row| json!({ "key": row.key.name(), "value": row.value, "origin": row.origin.to_string() }))
                .collect();
            world.screen.print_json(&json!(list))?;
        }
        Form::People => {
            let rows = rows.iter().map(|row| [row.key.name().to_owned(), row.value.clone(), row.origin.to_string()]);
            world.screen.print(&world.screen.table(&["setting", "value", "set by"], rows))?;
        }
    }
    Ok(Exit::Done)
}

/// Writes the whole command line as Markdown.
#[cfg(test)]
fn markdown() -> String {
    use std::fmt::Write as _;

    fn write(command: &Command, path: &str, out: &mut String) {
        let subs: Vec<&Command> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
        if !subs.is_empty() {
            for sub in subs {
                write(sub, &format!("{path} {}", sub.get_name()), out);
            }
            return;
        }
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(out, "\n## {path}\n\n{about}\n");
        let own = command.get_arguments().filter(|arg| !arg.is_global_set() && arg.get_id() != "help");
        let lines: Vec<String> = own
            .map(|arg| {
                let id = arg.get_id().as_str();
                let shown = arg.get_long().map_or_else(|| id.to_uppercase(), |long| format!("--{long}"));
                let words: Vec<String> =
                    arg.get_possible_values().iter().map(|word| word.get_name().to_owned()).collect();
                let words = if words.is_empty() || words == ["true", "false"] {
                    String::new()
                } else {
                    format!(" ({})", words.join(", "))
                };
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                format!("- `{shown}`{words}: {help}").trim_end_matches(": ").to_owned()
            })
            .collect();
        if !lines.is_empty() {
            let _ = write!(out, "\n{}\n", lines.join("\n"));
        }
    }
    let mut out = String::from(
        "# The command line\n\nMade from the table of operations by a test; `UPDATE=1 cargo test -p ctxnode-node reference`\n\
         writes it again. Every command also takes `--json`, `--quiet`, `--no-color`, `--yes`, `--no-autostart`,\n\
         `--data-dir`, `--socket`, `--http`, `--correlation-id` and `--idempotency-key`.\n",
    );
    write(&super::tree(), "ctxnode", &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_as_it_was_read() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/CLI.md");
        let now = markdown();
        #[expect(clippy::disallowed_methods, reason = "the test's own switch")]
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == now, "node/CLI.md differs from the commands; see its first lines");
    }
}
