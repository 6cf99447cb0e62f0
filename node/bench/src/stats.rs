//! Distributions.

use std::time::Duration;

/// Measured times of one thing.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Runs and measures.
    pub(crate) fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = std::time::Instant::now();
        let value = work();
        self.add(began.elapsed());
        value
    }

    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default()
    }

    /// Returns the sum.
    pub(crate) fn total(&self) -> Duration {
        self.0.iter().sum()
    }
}

/// Prints one line.
#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
pub(crate) fn line(name: &str, times: &Times) {
    println!(
        "{name:<44} p50 {:>9.2?}  p90 {:>9.2?}  p99 {:>9.2?}  n {}",
        times.percentile(50),
        times.percentile(90),
        times.percentile(99),
        times.0.len()
    );
}

/// Prints a sentence.
#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// Returns a ratio of two durations.
pub(crate) fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64().max(1e-9)
}
