//! A whole fleet in one thread: real stores, real exchanges, real frames; simulated disks, clocks and wires. Everything
//! that happens follows from one seed, which is printed when something is wrong.
//!
//! `CTXNODE_TEST_SIM_SEEDS=<first>..<last>` runs other seeds than the usual ones, for long runs by hand.

mod disk;
mod judge;
mod liar;
mod world;

use ctxnode_store::SeededEntropy;

use world::World;

/// How many seeds run in every test run.
const SEEDS: std::ops::Range<u64> = 0..2_000;
/// How many things happen to a fleet before it heals.
const STEPS: usize = 120;

fn seeds() -> std::ops::Range<u64> {
    #[expect(clippy::disallowed_methods, reason = "long runs by hand choose their seeds")]
    let chosen = std::env::var("CTXNODE_TEST_SIM_SEEDS").ok();
    let parsed = chosen.as_deref().and_then(|text| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    parsed.unwrap_or(SEEDS)
}

fn run(seed: u64) {
    let mut world = World::new(seed, SeededEntropy::new(seed));
    for _ in 0..STEPS {
        world.step();
    }
    world.heal();
    world.judge();
}

/// Runs seeds on two threads; the machine of the tests has two cores.
#[test]
fn every_fleet_that_heals_agrees() {
    let seeds = seeds();
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let work = || {
        loop {
            let seed = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            if seed >= seeds.end {
                return;
            }
            if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
                next.store(seeds.end, std::sync::atomic::Ordering::SeqCst);
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                panic!("seed {seed}: {text}");
            }
        }
    };
    println!("seeds {seeds:?}");
    let failed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        let ended = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended.filter_map(Result::err).filter_map(|panic| panic.downcast_ref::<String>().cloned()).next()
    });
    assert_eq!(failed, None);
}
