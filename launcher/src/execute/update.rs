//! Bringing a checkout up to date, when nothing can be lost. Nothing here stops a launch: what could not be done is said.

use std::path::Path;

use crate::checkout::{Git, Update, decide};
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::world::World;

/// Fetches, then moves forward or says how the checkout stands.
pub(super) async fn bring_forward(world: &World, plan: &Plan) {
    if !plan.fetch {
        return;
    }
    let git = Git::at(&plan.checkout);
    if let Err(refusal) = git.fetch().await {
        world.screen.say(&format!("note: {} could not be fetched: {}", plan.repo, reason(&refusal)));
    }
    let moved = match git.state().await {
        Err(refusal) => Err(refusal),
        Ok(state) => match decide(&state, git.default_branch().as_deref()) {
            Update::Nothing => return,
            Update::Say(text) => {
                world.screen.say(&format!("note: the checkout is {text}; it was left as it is"));
                return;
            }
            Update::FastForward(count) => git.fast_forward().await.map(|()| count),
        },
    };
    match moved {
        Ok(count) => world.screen.say(&format!("repo: moved forward by {count}")),
        Err(refusal) => world.screen.say(&format!("note: the checkout was left as it is: {}", reason(&refusal))),
    }
}

/// Moves the branch of a worktree forward to what was pushed elsewhere, when nothing can be lost.
pub(super) async fn bring_branch_forward(world: &World, directory: &Path) {
    let git = Git::at(directory);
    let Ok(state) = git.state().await else { return };
    if state.behind == 0 {
        return;
    }
    if state.dirty > 0 || state.ahead > 0 {
        let (ahead, dirty) = (state.ahead, state.dirty);
        let facts = format!("behind by {}, ahead by {ahead}, {dirty} changed files", state.behind);
        return world.screen.say(&format!("note: the branch is {facts}; it was left as it is"));
    }
    match git.fast_forward().await {
        Ok(()) => world.screen.say(&format!("branch: moved forward by {}", state.behind)),
        Err(refusal) => world.screen.say(&format!("note: the branch was left as it is: {}", reason(&refusal))),
    }
}

fn reason(refusal: &Refusal) -> String {
    refusal.why()
}
