//! A GitHub token that was revoked shadows a good login of `gh`: it is left out of the agent's environment.
//!
//! Only 401 proves that. 403 is a limit or a missing right, and silence is a network; the token stays then.

use std::time::Duration;

use crate::secrets::{Secret, Secrets, Source, http};
use crate::world::World;

/// The variable that `gh` prefers to its own login.
const VARIABLE: &str = "GH_TOKEN";
/// How long GitHub may take; a launch without network must not feel it.
const LIMIT: Duration = Duration::from_secs(2);
const API: &str = "https://api.github.com";

/// Returns the variables that the agent must not have, and says which and where they came from.
pub(super) async fn dead_tokens(world: &World, secrets: &Secrets, source: Option<&Source>) -> Vec<&'static str> {
    let env = &world.around.env;
    let inherited = env.get(VARIABLE).map(|value| Secret::new(value.to_owned()));
    // A secret wins over a variable of the same name, so it is the one that would be used.
    let (token, origin) = match (secrets.get(VARIABLE), &inherited) {
        (Some(secret), _) => {
            let place = source.map(|source| format!("{} {}", source.provider.name(), source.path));
            (secret, format!("the secrets ({})", place.unwrap_or_default()))
        }
        (None, Some(variable)) => (variable, "the environment".to_owned()),
        (None, None) => return Vec::new(),
    };
    let base = env.get("GITHUB_API_URL").unwrap_or(API).trim_end_matches('/');
    if status(base, token).await != Some(401) {
        return Vec::new();
    }
    world
        .screen
        .say(&format!("note: {VARIABLE} from {origin} was revoked (GitHub answers 401); the agent starts without it"));
    vec![VARIABLE]
}

async fn status(base: &str, token: &Secret) -> Option<u16> {
    let request = http::client().ok()?.get(format!("{base}/user")).bearer_auth(token.expose()).timeout(LIMIT);
    request.send().await.ok().map(|answer| answer.status().as_u16())
}
