//! The machine as its operating system describes it.

use ctxnode_model::rules::identity::machine_part;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind, Users};

use crate::app::Host;

/// Looks at this machine.
pub(super) fn look() -> Host {
    let hostname = System::host_name().unwrap_or_default();
    let os = if cfg!(target_os = "macos") { "macos" } else { "linux" };
    Host { part: machine_part(&hostname), hostname, os, arch: std::env::consts::ARCH, user: user() }
}

fn user() -> String {
    name_of_user().unwrap_or_else(|| rustix::process::getuid().as_raw().to_string())
}

fn name_of_user() -> Option<String> {
    let mut system = System::new().ok()?;
    let pid = Pid::from_u32(std::process::id());
    let what = ProcessRefreshKind::nothing().with_user(UpdateKind::Always);
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what);
    let users = Users::new_with_refreshed_list().ok()?;
    let uid = system.process(pid)?.user_id()?.clone();
    users.get_user_by_id(&uid).map(|user| user.name().to_owned())
}
