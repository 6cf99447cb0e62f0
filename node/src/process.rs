//! Processes: when one started, whether it still lives, and which ancestor is the agent.
//!
//! A pid is reused; a pid with its start is not. Identity of an agent comes from the process lineage, never from inherited
//! variables.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ctxnode_launcher::process;
pub use ctxnode_launcher::process::{boot_id, start_time};
use serde::{Deserialize, Serialize};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

/// The agent CLIs that are known by the name of their program.
const AGENTS: [(&str, &str); 7] = [
    ("claude", "claude"),
    ("codex", "codex"),
    ("gemini", "gemini"),
    ("agy", "agy"),
    ("antigravity", "agy"),
    ("opencode", "opencode"),
    ("cursor-agent", "cursor"),
];
/// How many ancestors are looked at; shells, wrappers and multiplexers stay far below.
const MAX_ANCESTORS: usize = 32;

/// Whether the program of this process is not there any more; one that was replaced by a newer build is.
#[must_use]
pub fn is_deleted() -> bool {
    let Ok(program) = std::env::current_exe() else { return false };
    let name = program.as_os_str().as_bytes();
    // Linux says so behind the name, also when another file has the name now.
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    !Path::new(std::ffi::OsStr::from_bytes(name)).exists()
}

/// A process that cannot be mistaken for a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The number.
    pub pid: u32,
    /// When it started, as [`start_time`] counts; no time of day.
    pub started: u64,
}

impl ProcessId {
    /// Returns the identity of a running process.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, started: start_time(pid)? })
    }

    /// Whether that very process still runs.
    #[must_use]
    pub fn is_alive(self) -> bool {
        process::is_alive(self.pid, self.started)
    }

    /// Returns when it started by the clock, in seconds since 1970, for people; `None` when it is gone.
    #[must_use]
    pub fn started_at(self) -> Option<u64> {
        process::started_at(self.pid).filter(|_| self.is_alive())
    }

    /// Whether an earlier build noted it, which counted otherwise on this system.
    #[must_use]
    pub fn is_by_clock(self) -> bool {
        process::is_by_clock(self.started)
    }
}

/// The agent behind a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentProcess {
    /// Which CLI it is.
    pub cli: &'static str,
    /// Its root process.
    pub process: ProcessId,
}

impl AgentProcess {
    /// Makes one from a CLI's name; `None` for a name that is not known.
    #[must_use]
    pub fn of(cli: &str, process: ProcessId) -> Option<Self> {
        AGENTS.iter().find(|(_, known)| *known == cli).map(|(_, known)| Self { cli: known, process })
    }
}

/// Returns the parent of a process.
#[must_use]
pub fn parent_of(pid: u32) -> Option<u32> {
    let mut system = System::new().ok()?;
    let pid = Pid::from_u32(pid);
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, ProcessRefreshKind::nothing());
    system.process(pid)?.parent().map(Pid::as_u32)
}

/// Returns the resident memory of a process in bytes.
#[must_use]
pub fn memory(pid: u32) -> Option<u64> {
    let mut system = System::new().ok()?;
    let pid = Pid::from_u32(pid);
    let what = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what);
    system.process(pid).map(sysinfo::Process::memory)
}

/// Returns the agents among a process and its ancestors, nearest first.
#[must_use]
pub fn agents_above(pid: u32) -> Vec<AgentProcess> {
    let mut found: Vec<(AgentProcess, Option<Pid>)> = Vec::new();
    let Ok(mut system) = System::new() else { return Vec::new() };
    let mut next = Some(Pid::from_u32(pid));
    for _ in 0..MAX_ANCESTORS {
        let Some(pid) = next else { break };
        let what = ProcessRefreshKind::nothing().with_cmd(UpdateKind::Always).with_exe(UpdateKind::Always);
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what);
        let Some(process) = system.process(pid) else { break };
        let words: Vec<String> = process.cmd().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let name = process.name().to_string_lossy();
        let parent = process.parent().filter(|parent| parent.as_u32() > 1);
        if let Some(cli) = agent_of(&name, &words)
            && let Some(process) = ProcessId::of(pid.as_u32())
        {
            match found.last_mut() {
                // The script by which a CLI was installed starts its program as a child: both are one agent, and the
                // outer one is what others started.
                Some((inner, above)) if *above == Some(pid) && inner.cli == cli && is_wrapper(&words) => {
                    (*inner, *above) = (AgentProcess { cli, process }, parent);
                }
                _ => found.push((AgentProcess { cli, process }, parent)),
            }
        }
        next = parent;
    }
    found.into_iter().map(|(agent, _)| agent).collect()
}

/// Whether a program is a script that an interpreter runs.
fn is_wrapper(words: &[String]) -> bool {
    words.first().is_some_and(|first| matches!(first.rsplit('/').next(), Some("node" | "bun" | "deno")))
}

/// Recognises an agent by its program's name, or by the script that an interpreter runs.
fn agent_of(name: &str, words: &[String]) -> Option<&'static str> {
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).trim_end_matches(".js").to_owned();
    let known = |word: &str| AGENTS.iter().find(|(program, _)| *program == word).map(|(_, cli)| *cli);
    let interpreter = matches!(base(words.first().map_or(name, String::as_str)).as_str(), "node" | "bun" | "deno");
    let script = words.get(1).filter(|_| interpreter).map(|path| base(path));
    known(name)
        .or_else(|| words.first().and_then(|first| known(&base(first))))
        .or_else(|| script.and_then(|script| known(&script)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_until_it_is_gone() {
        let me = ProcessId::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(me.started_at().is_some());
        let other = ProcessId { started: me.started + 1, ..me };
        assert!(!other.is_alive() && other.started_at().is_none());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(ProcessId::of(pid), None);
    }

    #[test]
    fn agents_are_known_by_program_or_script() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(agent_of("claude", &words("claude -p x")), Some("claude"));
        assert_eq!(agent_of("node", &words("node /usr/lib/node_modules/.bin/codex mcp")), Some("codex"));
        assert_eq!(agent_of("MainThread", &words("/usr/bin/node /opt/gemini.js")), Some("gemini"));
        assert_eq!(agent_of("bash", &words("bash claude")), None);
        assert_eq!(agent_of("grep", &words("grep claude")), None);
    }
}
