//! What is measured of a meeting of two peers.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::wire::Counters;

/// How long a meeting may take before it counts as stuck.
const STUCK: Duration = Duration::from_secs(60);

/// The figures of one meeting. Both peers are in one process, so memory is that of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Bytes that A wrote, until nothing more was said.
    pub(crate) from_a: u64,
    /// Bytes that B wrote.
    pub(crate) from_b: u64,
    /// From connecting until both knew that they are equal, in microseconds.
    pub(crate) micros: u64,
    /// Resident memory just before connecting, in KiB.
    pub(crate) before_kib: u64,
    /// The most resident memory from then on, in KiB.
    pub(crate) peak_kib: u64,
}

/// A meeting that is being measured.
#[derive(Debug)]
pub(crate) struct Meter {
    began: Instant,
    before_kib: u64,
}

impl Meter {
    /// Forgets the peak of the preparation and starts the clock.
    pub(crate) fn start() -> Self {
        std::fs::write("/proc/self/clear_refs", "5").expect("a Linux kernel that resets the peak of resident memory");
        let before_kib = status("VmRSS:");
        Self { began: Instant::now(), before_kib }
    }

    /// Waits for equality, and for what is said after it.
    pub(crate) async fn finish(self, equal: impl Future<Output = ()>, counters: &Counters) -> Figures {
        if tokio::time::timeout(STUCK, equal).await.is_err() {
            panic!("the peers were not equal after {STUCK:?}; {:?} bytes went over the wire", counters.now());
        }
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (from_a, from_b) = counters.when_quiet().await;
        Figures { from_a, from_b, micros, before_kib: self.before_kib, peak_kib: status("VmHWM:") }
    }
}

/// Reads a line of the kernel's account of this process, in KiB.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("the account of this process");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a known line");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}
