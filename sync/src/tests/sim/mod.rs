//! A whole fleet in one thread: real stores, real exchanges, real frames; simulated disks, clocks and wires. Everything
//! that happens follows from one seed, which is printed when something is wrong.
//!
//! Long runs by hand choose their seeds and how they are run; CONTRIBUTING.md has the command. `runner` has the settings.

mod again;
mod disk;
mod faults;
mod govern;
mod judge;
mod liar;
mod life;
mod machines;
mod newer;
mod patience;
mod rights;
mod runner;
mod world;

use std::sync::PoisonError;

use ctxnode_store::{SeededEntropy, VerifyOnce};

use life::Life;
use world::World;

fn run(seed: u64) {
    // A dozen nodes take the same entries in, and the judge checks them all again.
    let _once = VerifyOnce::begin();
    let life = Life::of(seed);
    let mut world = World::new(seed, life, SeededEntropy::new(seed));
    for _ in 0..life.steps {
        world.step();
    }
    world.heal();
    world.judge();
    if life.goes_back_again {
        world.go_back_again();
        world.agree();
    }
    world.end();
}

/// Seeds that found something, and what that was. Those that found something in an earlier simulator make other fleets now; a test
/// beside the code holds what they found.
const FOUND: [(u64, &str); 1] =
    [(363_650, "a copied founder that revokes itself twice takes back everything that it ever said")];

#[test]
fn seeds_that_found_something_agree() {
    for (seed, what) in FOUND {
        println!("{seed}: {what}");
        run(seed);
    }
}

#[test]
fn every_fleet_that_heals_agrees() {
    let plan = runner::Plan::from_environment();
    println!("{plan:?}");
    judge::HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let failed = runner::run_all(&plan, run);
    assert!(failed.is_empty(), "{} seeds failed: {failed:#?}", failed.len());
    let held_back = judge::HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner);
    println!("held back: {held_back:#?}");
    let has = |part: &str| held_back.keys().any(|why| why.contains(part));
    if plan.seeds.end - plan.seeds.start >= 2_000 {
        for part in [
            "another space",
            "another history",
            "before it was looked into",
            "role does not allow",
            "no right to the space",
        ] {
            assert!(has(part), "nothing was ever held back because of `{part}`");
        }
    }
}
