//! The machine as its operating system describes it.

use std::net::IpAddr;
use std::path::Path;

use ctxnode_fleet::field::Power;
use ctxnode_fleet::network;
use ctxnode_model::rules::identity::machine_part;
use sysinfo::{Networks, Pid, ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind, Users};

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

/// Returns where others can reach this machine, best first. A node that was told where to listen is nowhere else.
pub(crate) fn addresses(bind: &[IpAddr]) -> Vec<IpAddr> {
    if !bind.is_empty() {
        return bind.to_vec();
    }
    let mut found = Vec::new();
    for (name, data) in Networks::new_with_refreshed_list().iter().flat_map(|networks| networks.iter()) {
        let name = name.to_string_lossy().into_owned();
        found.extend(data.ip_networks().iter().map(|network| (name.clone(), network.addr)));
    }
    network::addresses(found.iter().map(|(name, ip)| (name.as_str(), *ip)))
}

/// Returns where the power comes from. Known on Linux; a machine without a battery hangs on the wall.
pub(crate) fn power() -> Option<Power> {
    power_below(Path::new("/sys/class/power_supply"))
}

fn power_below(folder: &Path) -> Option<Power> {
    let mut found = None;
    for supply in std::fs::read_dir(folder).ok()?.flatten() {
        let read = |name: &str| std::fs::read_to_string(supply.path().join(name)).map(|text| text.trim().to_owned());
        match read("type").as_deref() {
            Ok("Mains" | "USB") if read("online").is_ok_and(|online| online == "1") => return Some(Power::Mains),
            Ok("Battery") => found = Some(Power::Battery(read("capacity").ok().and_then(|text| text.parse().ok()))),
            _ => {}
        }
    }
    found.or(Some(Power::Mains))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_comes_from_the_wall_when_a_supply_says_so() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(power_below(&folder.path().join("none")), None);
        assert_eq!(power_below(folder.path()), Some(Power::Mains));
        let supply = |name: &str, files: &[(&str, &str)]| {
            let place = folder.path().join(name);
            std::fs::create_dir_all(&place).unwrap();
            files.iter().for_each(|(file, text)| std::fs::write(place.join(file), text).unwrap());
        };
        supply("BAT0", &[("type", "Battery\n"), ("capacity", "41\n")]);
        supply("AC", &[("type", "Mains\n"), ("online", "0\n")]);
        assert_eq!(power_below(folder.path()), Some(Power::Battery(Some(41))));
        supply("AC", &[("online", "1\n")]);
        assert_eq!(power_below(folder.path()), Some(Power::Mains));
    }
}
