//! Bringing a checkout up to date, when nothing can be lost. Nothing here stops a launch: what could not be done is said.

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

fn reason(refusal: &Refusal) -> String {
    refusal.why()
}
