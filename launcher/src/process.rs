//! Processes: when one started, and whether it still lives. A pid is reused; a pid with its start is not.
//!
//! On Linux a start is counted from the boot. The time of day at which a process started is known there only as so long
//! after the boot, and the time of the boot moves whenever the clock is set, as when a virtual machine wakes: then every
//! living process would seem to be another one.

use std::sync::OnceLock;

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// The low bits of a start on Linux, which hold the clock ticks since the boot: 21 years of them. Above them stands which
/// boot it was. Together they stay below 2^53, so that every reader of JSON takes them in as they are.
const TICK_BITS: u32 = 36;

/// Returns what tells a process from every other one that had its pid, also before the last boot; `None` when it is gone.
/// Not for people: see [`started_at`].
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return started_at(pid);
    }
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    Some(start(tag_of_this_boot(), ticks(&stat)?))
}

/// Returns when a process started by the clock, in seconds since 1970; `None` when it is gone. For people: on Linux it moves
/// when the clock is set.
#[must_use]
pub fn started_at(pid: u32) -> Option<u64> {
    let mut system = System::new().ok()?;
    let pid = Pid::from_u32(pid);
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, ProcessRefreshKind::nothing());
    let process = system.process(pid)?;
    (process.status() != sysinfo::ProcessStatus::Zombie).then(|| process.start_time())
}

/// Whether the process that was noted with a start still runs. A start that an earlier build noted is understood too, as
/// long as nobody has set the clock since.
#[must_use]
pub fn is_alive(pid: u32, started: u64) -> bool {
    start_time(pid) == Some(started) || (is_by_clock(started) && started_at(pid) == Some(started))
}

/// Whether a start was noted by a build that took the time of day on Linux.
#[must_use]
pub fn is_by_clock(started: u64) -> bool {
    // A start from a build like this one has a tag, which is never zero; a time of day gets that far in the year 4147.
    cfg!(target_os = "linux") && started >> TICK_BITS == 0
}

/// Returns the boot's identity, so that equal pids and starts of two boots differ.
#[must_use]
pub fn boot_id() -> String {
    let linux = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    linux.map_or_else(|_| System::boot_time().unwrap_or(0).to_string(), |text| text.trim().to_owned())
}

fn tag_of_this_boot() -> u64 {
    static TAG: OnceLock<u64> = OnceLock::new();
    // No process lives longer than its boot.
    *TAG.get_or_init(|| tag(&boot_id()))
}

/// Returns sixteen bits of a boot's identity, which is random from its first digit on; never zero.
fn tag(boot_id: &str) -> u64 {
    boot_id.get(..4).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0).max(1)
}

fn start(tag: u64, ticks: u64) -> u64 {
    (tag << TICK_BITS) | (ticks & ((1_u64 << TICK_BITS) - 1))
}

/// Reads out of a `/proc/PID/stat` how many clock ticks after the boot the process started; `None` when it has ended and
/// only waits for its parent. The name of the program, in parentheses, may itself hold spaces and parentheses.
fn ticks(stat: &[u8]) -> Option<u64> {
    let behind_the_name = stat.rsplit(|byte| *byte == b')').next()?;
    let mut fields = std::str::from_utf8(behind_the_name).ok()?.split_ascii_whitespace();
    // The state is the third field, the start the twenty-second.
    let state = fields.next()?;
    let ticks = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(ticks)
}

/// Returns this machine's part of branch names and agent ids.
#[must_use]
pub fn machine_part() -> String {
    ctxnode_model::rules::identity::machine_part(&System::host_name().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BOOT: &str = "7f3c1a2b-0d4e-4c5f-8a6b-9c8d7e6f5a4b";

    #[test]
    fn a_start_is_read_whatever_the_program_is_called() {
        let stat = |name: &[u8], state: &str| {
            let rest = format!(") {state} 1 812 812 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 2805760 231 18446\n");
            [&b"812 ("[..], name, rest.as_bytes()].concat()
        };
        for name in [&b"claude"[..], b"a) Z 1 (b", b"two words", b")", b"\xff\xfe", b""] {
            assert_eq!(ticks(&stat(name, "S")), Some(987_654), "{}", String::from_utf8_lossy(name));
        }
        assert_eq!((ticks(&stat(b"claude", "Z")), ticks(&stat(b"claude", "X"))), (None, None), "it has ended");
        for broken in [&b""[..], b"812 (claude", b"812 (claude) S 1 2", b"812 (claude) S \xff"] {
            assert_eq!(ticks(broken), None);
        }
    }

    #[test]
    fn a_start_of_another_boot_and_a_time_of_day_are_other_numbers() {
        let of = |boot| start(tag(boot), 987_654);
        assert_ne!(of(BOOT), of("0b9d1a2b-0d4e-4c5f-8a6b-9c8d7e6f5a4b"));
        assert_eq!(of(BOOT), (0x7f3c_u64 << TICK_BITS) | 987_654);
        for boot in [BOOT, "ffff", "0000aaaa", "", "no", "é"] {
            assert!(start(tag(boot), u64::MAX) < 1_u64 << 53, "{boot}");
            assert!(!is_by_clock(of(boot)), "{boot}");
        }
        assert_eq!(is_by_clock(1_795_435_200), cfg!(target_os = "linux"));
    }

    /// As the kernel counts it, which no setting of the clock changes.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_start_does_not_follow_the_clock() {
        let me = std::process::id();
        let stat = std::fs::read_to_string(format!("/proc/{me}/stat")).unwrap();
        let counted: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
        let started = start_time(me).unwrap();
        assert_eq!((started & ((1_u64 << TICK_BITS) - 1), started >> TICK_BITS), (counted, tag(&boot_id())));
        assert_ne!(started_at(me), Some(started));
    }

    #[test]
    fn what_an_earlier_build_noted_of_a_living_process_is_understood() {
        let me = std::process::id();
        let (now, before) = (start_time(me).unwrap(), started_at(me).unwrap());
        assert!(is_alive(me, now) && is_alive(me, before));
        // As after the clock was set: only the former time is wrong then.
        assert!(!is_alive(me, before - 3_600) && !is_alive(me, now + 1));
    }

    #[test]
    fn a_process_that_nobody_has_waited_for_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        ctxnode_testkit::wait_until(Duration::from_secs(20), "it has ended", || start_time(pid).is_none());
        assert_eq!(started_at(pid), None);
        child.wait().unwrap();
    }
}
