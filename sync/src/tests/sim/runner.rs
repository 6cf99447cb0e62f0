//! Many seeds on several threads: what is left to do, how far it is, what failed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::catch_unwind;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How many seeds run in every test run.
const SEEDS: Range<u64> = 0..4_000;
/// On how many threads; the machine of the tests has two cores.
const THREADS: usize = 2;

/// Which seeds are run, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// `CTXNODE_TEST_SIM_SEEDS=<first>..<last>`, without the last.
    pub(super) seeds: Range<u64>,
    /// `CTXNODE_TEST_SIM_THREADS=<n>`.
    pub(super) threads: usize,
    /// `CTXNODE_TEST_SIM_REPORT=<n>`: says after every so many seeds how far it is, and from where on it could be resumed.
    pub(super) report: Option<u64>,
    /// `CTXNODE_TEST_SIM_KEEP_GOING=1`: a failed seed is printed, and the others are run all the same.
    pub(super) keep_going: bool,
}

impl Plan {
    /// Reads what was chosen. What cannot be read ends the test: a run that does something else than asked proves nothing.
    pub(super) fn from_environment() -> Self {
        #[expect(clippy::disallowed_methods, reason = "long runs by hand choose their seeds")]
        Self::from(|name| std::env::var(name).ok())
    }

    fn from(setting: impl Fn(&str) -> Option<String>) -> Self {
        fn number<T: FromStr>(name: &str, text: &str) -> T {
            text.parse().ok().unwrap_or_else(|| panic!("{name} holds `{text}`, which is no number"))
        }
        let seeds = setting("CTXNODE_TEST_SIM_SEEDS").map(|text| {
            let name = "CTXNODE_TEST_SIM_SEEDS";
            let (first, last) =
                text.split_once("..").unwrap_or_else(|| panic!("{name} is <first>..<last>, not `{text}`"));
            number(name, first)..number(name, last)
        });
        let count = |name| setting(name).map(|text| number::<u64>(name, &text));
        Self {
            seeds: seeds.unwrap_or(SEEDS),
            threads: count("CTXNODE_TEST_SIM_THREADS").map_or(THREADS, |count| usize::try_from(count).unwrap_or(1)),
            report: count("CTXNODE_TEST_SIM_REPORT").filter(|every| *every > 0),
            keep_going: count("CTXNODE_TEST_SIM_KEEP_GOING").is_some_and(|count| count > 0),
        }
    }
}

/// How far a run is.
struct Progress {
    next: u64,
    running: BTreeSet<u64>,
    failed: BTreeMap<u64, String>,
    started: Instant,
}

impl Progress {
    fn start_one(&mut self, plan: &Plan) -> Option<u64> {
        let stop = !plan.keep_going && !self.failed.is_empty();
        let seed = Some(self.next).filter(|next| *next < plan.seeds.end && !stop)?;
        self.next += 1;
        self.running.insert(seed);
        Some(seed)
    }

    fn end_one(&mut self, plan: &Plan, seed: u64, failure: Option<String>) {
        self.running.remove(&seed);
        if let Some(text) = failure {
            println!("seed {seed} failed: {text}");
            self.failed.insert(seed, text);
        }
        let done = self.next - plan.seeds.start - self.running.len() as u64;
        if plan.report.is_some_and(|every| done.is_multiple_of(every)) {
            // All below it are done, also where another thread is slow.
            let resume = self.running.first().copied().unwrap_or(self.next);
            let pace = done as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
            println!("all below {resume} are done, {pace:.0} a second, {} failed", self.failed.len());
        }
    }
}

/// Runs all seeds and returns those that failed with what they said; without `keep_going` it ends soon after the first.
pub(super) fn run_all(plan: &Plan, run: impl Fn(u64) + Sync + std::panic::RefUnwindSafe) -> BTreeMap<u64, String> {
    let progress = Mutex::new(Progress {
        next: plan.seeds.start,
        running: BTreeSet::new(),
        failed: BTreeMap::new(),
        started: Instant::now(),
    });
    let lock = || progress.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        loop {
            let Some(seed) = lock().start_one(plan) else { return };
            let failure = catch_unwind(|| run(seed)).err().map(|panic| said(panic.as_ref()));
            lock().end_one(plan, seed, failure);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.threads.max(1) {
            scope.spawn(work);
        }
    });
    progress.into_inner().unwrap_or_else(PoisonError::into_inner).failed
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

mod tests {
    use super::*;

    fn plan(keep_going: bool) -> Plan {
        Plan { seeds: 10..30, threads: 3, report: Some(5), keep_going }
    }

    #[test]
    fn every_seed_runs_once_and_failures_are_named() {
        let ran = Mutex::new(Vec::new());
        let failed = run_all(&plan(true), |seed| {
            ran.lock().unwrap_or_else(PoisonError::into_inner).push(seed);
            assert!(seed != 13, "thirteen");
            if seed == 21 {
                panic!("seed {seed}");
            }
        });
        let mut ran = ran.into_inner().unwrap();
        ran.sort_unstable();
        assert_eq!(ran, (10..30).collect::<Vec<u64>>());
        assert_eq!(failed, BTreeMap::from([(13, "thirteen".to_owned()), (21, "seed 21".to_owned())]));
    }

    #[test]
    fn the_first_failure_ends_the_run_unless_asked() {
        let plan = Plan { threads: 1, ..plan(false) };
        let failed = run_all(&plan, |seed| assert!(seed < 12, "at {seed}"));
        assert_eq!(failed, BTreeMap::from([(12, "at 12".to_owned())]));
    }

    #[test]
    fn settings_choose_the_plan_and_bad_ones_end_it() {
        let set = |seeds: &'static str, report: &'static str| {
            Plan::from(move |name| match name {
                "CTXNODE_TEST_SIM_SEEDS" => Some(seeds.to_owned()),
                "CTXNODE_TEST_SIM_REPORT" => Some(report.to_owned()),
                _ => None,
            })
        };
        assert_eq!(set("5..9", "2"), Plan { seeds: 5..9, threads: 2, report: Some(2), keep_going: false });
        assert_eq!(Plan::from(|_| None).seeds, SEEDS);
        for (seeds, report) in [("5-9", "2"), ("5..x", "2"), ("5..9", "often")] {
            assert!(catch_unwind(|| set(seeds, report)).is_err(), "{seeds} {report}");
        }
    }
}
