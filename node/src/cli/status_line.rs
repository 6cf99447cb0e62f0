//! `ctxnode statusline`: one line for the status bar of an agent CLI, after that of somebody's own when there is one.
//!
//! Like a hook it always ends with 0 and never keeps the CLI waiting: what is late is left out.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, Command};
use ctxnode_api::hooks::{HookRequest, Moment};
use ctxnode_config::Environment;
use ctxnode_launcher::agents::Agent;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde_json::Value;

use super::hook::{ASK_LIMIT, ask, limited, offer_of};
use super::screen::Screen;
use super::stdin::{self, Input};

/// How long somebody's own command may take; the CLI asks again some seconds later.
const THEIRS: Duration = Duration::from_secs(2);
/// How often it is looked at whether it has ended, when it prints nothing.
const LOOK: Duration = Duration::from_millis(10);
/// The most bytes that are shown of it.
const MOST: usize = 16 << 10;

pub(super) fn command() -> Command {
    let and = "Runs this command with the same input first and shows its output before ours";
    Command::new("statusline")
        .about("Prints one line for the status bar of an agent CLI")
        .arg(Arg::new("and").long("and").value_name("COMMAND").help(and))
}

/// Prints the line. Always ends with 0.
pub(super) fn run(matches: &ArgMatches, env: &Environment, screen: Screen) -> ExitCode {
    let Input { bytes, value: event } = stdin::input();
    let began = Instant::now();
    let theirs = matches.get_one::<String>("and").and_then(|command| Theirs::start(command, &bytes));
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
        ask(world, &asked, ASK_LIMIT).ok()
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
    stdout: ChildStdout,
}

impl Theirs {
    /// Starts it as the CLI would have: by a shell, with the CLI's input.
    fn start(command: &str, input: &[u8]) -> Option<Self> {
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = shell.spawn().ok()?;
        let (mut stdin, stdout) = (child.stdin.take()?, child.stdout.take()?);
        let input = input.to_owned();
        // One that does not read its input must not hold up its output.
        std::thread::Builder::new().spawn(move || drop(stdin.write_all(&input))).ok()?;
        Some(Self { child, stdout })
    }

    /// Takes what it prints until it has ended. What came in time counts, also when more was to come. With all that it
    /// started it is stopped then.
    fn finish(mut self, limit: Duration) -> String {
        let printed = self.output(Instant::now() + limit);
        if let Some(group) = self.group() {
            // Gone already is as good as stopped.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
        String::from_utf8_lossy(&printed).into_owned()
    }

    fn output(&mut self, deadline: Instant) -> Vec<u8> {
        let mut printed = Vec::new();
        let mut chunk = [0; 4 << 10];
        while printed.len() < MOST {
            // Looked at first: what it printed before its end is in the pipe by then.
            let ended = self.has_ended();
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = if ended { Duration::ZERO } else { left.min(LOOK) };
            match self.is_readable(wait) {
                true => match self.stdout.read(&mut chunk) {
                    Ok(count) if count > 0 => printed.extend_from_slice(&chunk[..count]),
                    _ => break,
                },
                // What it left running may hold the pipe open for hours.
                false if ended || left.is_zero() => break,
                false => {}
            }
        }
        printed.truncate(MOST);
        printed
    }

    fn is_readable(&self, wait: Duration) -> bool {
        let mut files = [PollFd::new(&self.stdout, PollFlags::IN)];
        let wait = Timespec::try_from(wait).unwrap_or_default();
        poll(&mut files, Some(&wait)).is_ok_and(|count| count > 0)
    }

    /// Whether the shell has ended. It is not collected here: until it is, nobody else gets its number.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.group().is_none_or(|shell| !matches!(waitid(WaitId::Pid(shell), options), Ok(None)))
    }

    fn group(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(command: &str, limit: Duration) -> (String, Duration) {
        let began = Instant::now();
        let printed = Theirs::start(command, b"{}").unwrap().finish(limit);
        (printed, began.elapsed())
    }

    #[test]
    fn the_output_counts_when_the_shell_has_ended_whatever_it_left_running() {
        let long = Duration::from_secs(60);
        let (printed, took) = shown("sleep 600 & echo mine", long);
        assert_eq!(printed, "mine\n");
        assert!(took < long, "{took:?}");
        let (printed, _) = shown("cat; echo; head -c 70000 /dev/zero | tr '\\0' x", long);
        assert!(printed.starts_with("{}\nxxx") && printed.len() == MOST, "{}", printed.len());
    }

    #[test]
    fn what_came_before_the_limit_is_shown() {
        let (printed, _) = shown("echo half; exec sleep 600", Duration::from_secs(2));
        assert_eq!(printed, "half\n");
    }

    #[test]
    fn ours_stands_behind_the_first_line_of_theirs() {
        assert_eq!(joined("", "ctxnode: x"), "ctxnode: x");
        assert_eq!(joined("mine\n", "ctxnode: x"), "mine | ctxnode: x");
        assert_eq!(joined("one\ntwo\n", "ctxnode: x"), "one | ctxnode: x\ntwo");
        assert_eq!(joined("\u{1b}[31mred", "ctxnode: x"), "\u{1b}[31mred\u{1b}[0m | ctxnode: x");
    }
}
