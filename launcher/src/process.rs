//! Processes: when one started, and whether it still lives. A pid is reused; a pid with its start time is not.

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Returns when a process started, in seconds since 1970; `None` when it is gone.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    let mut system = System::new().ok()?;
    let pid = Pid::from_u32(pid);
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, ProcessRefreshKind::nothing());
    let process = system.process(pid)?;
    (process.status() != sysinfo::ProcessStatus::Zombie).then(|| process.start_time())
}

/// Returns this machine's part of branch names and agent ids.
#[must_use]
pub fn machine_part() -> String {
    ctxnode_model::rules::identity::machine_part(&System::host_name().unwrap_or_default())
}
