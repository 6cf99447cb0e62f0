//! `ctxnode statusline`: one line for the status bar of an agent CLI, after that of somebody's own when there is one.
//!
//! Like a hook it always ends with 0 and never keeps the CLI waiting: what is late is left out.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ExitCode, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, Command};
use ctxnode_api::hooks::{HookRequest, Moment};
use ctxnode_config::Environment;
use ctxnode_launcher::agents::Agent;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use super::hook::{ask, limited, offer_of, stdin_bytes};
use super::screen::Screen;

/// How long somebody's own command may take; the CLI asks again some seconds later.
const THEIRS: Duration = Duration::from_secs(2);
/// The most that is shown of it.
const MOST: u64 = 16 << 10;

pub(super) fn command() -> Command {
    let and = "Runs this command with the same input first and shows its output before ours";
    Command::new("statusline")
        .about("Prints one line for the status bar of an agent CLI")
        .arg(Arg::new("and").long("and").value_name("COMMAND").help(and))
}

/// Prints the line. Always ends with 0.
pub(super) fn run(matches: &ArgMatches, env: &Environment, screen: Screen) -> ExitCode {
    let input = stdin_bytes();
    let began = Instant::now();
    let theirs = matches.get_one::<String>("and").and_then(|command| Theirs::start(command, &input));
    let event: Value = serde_json::from_slice(&input).unwrap_or_default();
    let reply = limited(matches, env, screen, move |world| {
        let directory = event.pointer("/workspace/current_dir").or_else(|| event.get("cwd")).and_then(Value::as_str);
        let directory = directory.map_or_else(|| world.directory.display().to_string(), str::to_owned);
        let asked = HookRequest {
            cli: Agent::Claude.name().to_owned(),
            moment: Moment::Status,
            conversation: event.get("session_id").and_then(Value::as_str).map(str::to_owned),
            directory: Some(directory),
            ..HookRequest::default()
        };
        ask(world, &asked).ok()
    });
    let ours = match reply.flatten() {
        None => "ctxnode: no daemon".to_owned(),
        Some(reply) => match (offer_of(Agent::Claude, Some(&reply), env), reply.context) {
            // Until a turn ends well again, nothing else is as useful there.
            (Some(offer), _) => format!("ctxnode: {offer}"),
            (None, Some(line)) => format!("ctxnode: {line}"),
            (None, None) => "ctxnode: no session".to_owned(),
        },
    };
    let theirs = theirs.map(|theirs| theirs.finish(THEIRS.saturating_sub(began.elapsed()))).unwrap_or_default();
    // Without a place to print to there is nobody to tell.
    let _ = screen.print(&joined(&theirs, &ours));
    ExitCode::SUCCESS
}

/// Ours goes behind the first line of theirs, which is the one that every CLI shows.
fn joined(theirs: &str, ours: &str) -> String {
    let (first, rest) = theirs.trim_end().split_once('\n').unwrap_or((theirs.trim_end(), ""));
    if first.is_empty() {
        return ours.to_owned();
    }
    // A colour of theirs ends with theirs.
    let end = if first.contains('\u{1b}') { "\u{1b}[0m" } else { "" };
    let rest = if rest.is_empty() { String::new() } else { format!("\n{rest}") };
    format!("{first}{end} | {ours}{rest}")
}

/// Somebody's own command, as it runs.
struct Theirs {
    child: Child,
    output: std::sync::mpsc::Receiver<String>,
}

impl Theirs {
    /// Starts it as the CLI would have: by a shell, with the CLI's input.
    fn start(command: &str, input: &[u8]) -> Option<Self> {
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = shell.spawn().ok()?;
        let (mut stdin, stdout) = (child.stdin.take()?, child.stdout.take()?);
        let input = input.to_owned();
        let (send, output) = sync_channel(1);
        // One that does not read its input must not hold up its output.
        std::thread::Builder::new().spawn(move || drop(stdin.write_all(&input))).ok()?;
        std::thread::Builder::new()
            .spawn(move || {
                let mut bytes = Vec::new();
                let _ = stdout.take(MOST).read_to_end(&mut bytes);
                // The one who waits may have given up.
                let _ = send.send(String::from_utf8_lossy(&bytes).into_owned());
            })
            .ok()?;
        Some(Self { child, output })
    }

    /// Waits for what it prints; with all that it started it is stopped when that takes too long.
    fn finish(mut self, limit: Duration) -> String {
        let printed = self.output.recv_timeout(limit).unwrap_or_default();
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Gone already is as good as stopped.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
        printed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_stands_behind_the_first_line_of_theirs() {
        assert_eq!(joined("", "ctxnode: x"), "ctxnode: x");
        assert_eq!(joined("mine\n", "ctxnode: x"), "mine | ctxnode: x");
        assert_eq!(joined("one\ntwo\n", "ctxnode: x"), "one | ctxnode: x\ntwo");
        assert_eq!(joined("\u{1b}[31mred", "ctxnode: x"), "\u{1b}[31mred\u{1b}[0m | ctxnode: x");
    }
}
