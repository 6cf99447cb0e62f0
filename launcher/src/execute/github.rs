//! A GitHub token that was revoked shadows a good login of `gh`: it is left out of the agent's environment.
//!
//! Only 401 of the host for which `gh` would use the token proves that. 403 is a limit or a missing right, and silence is a
//! network; the token stays then.

use std::time::Duration;

use ctxnode_config::Environment;
use reqwest::Url;

use crate::secrets::{Secret, Secrets, Source, http};
use crate::world::World;

/// How long GitHub may take; a launch without network must not feel it.
const LIMIT: Duration = Duration::from_secs(2);
/// The host of those who name none.
const HOST: &str = "github.com";
/// Below this, companies have hosts of GitHub's own cloud.
const TENANTS: &str = ".ghe.com";

/// A variable that `gh` prefers to its own login, and where its value must be good.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    variable: &'static str,
    base: String,
}

/// Which variable `gh` would use, and the API that knows whether it is good; `None` when that cannot be asked safely.
fn asked(env: &Environment) -> Option<Asked> {
    let host = env.get("GH_HOST").unwrap_or(HOST).to_lowercase();
    let whole = Url::parse(&format!("https://{host}")).ok()?;
    let plain = whole.username().is_empty() && whole.path() == "/" && whole.query().or(whole.fragment()).is_none();
    if !plain {
        return None;
    }
    let own_cloud = host == HOST || host.ends_with(TENANTS);
    let (variable, base) = match own_cloud {
        true => ("GH_TOKEN", format!("https://api.{host}")),
        // `gh` takes the other variable for a server that a company runs itself.
        false => ("GH_ENTERPRISE_TOKEN", format!("https://{host}/api/v3")),
    };
    let base = env.get("GITHUB_API_URL").map_or(base, |url| url.trim_end_matches('/').to_owned());
    is_safe(&base).then_some(Asked { variable, base })
}

/// Whether a token may be sent there: nobody reads along, or it stays on this machine.
fn is_safe(base: &str) -> bool {
    Url::parse(base).is_ok_and(|url| match url.scheme() {
        "https" => true,
        "http" => url.host_str().is_some_and(|host| {
            let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }),
        _ => false,
    })
}

/// Takes a dead token out of the secrets, returns the variables that the agent must not inherit, and says which and where they
/// came from. What was not asked about stays.
pub(super) async fn dead_tokens(world: &World, secrets: &mut Secrets, source: Option<&Source>) -> Vec<&'static str> {
    let env = &world.around.env;
    let Some(Asked { variable, base }) = asked(env) else { return Vec::new() };
    let told = |origin: &str| {
        let text = format!("{variable} from {origin} was revoked (GitHub answers 401); the agent starts without it");
        world.screen.say(&format!("note: {text}"));
    };
    // A secret wins over a variable of the same name, so it is the one that would be used.
    if let Some(secret) = secrets.get(variable) {
        if status(&base, secret).await != Some(401) {
            return Vec::new();
        }
        let place = source.map(|source| format!("{} {}", source.provider.name(), source.path));
        told(&format!("the secrets ({})", place.unwrap_or_default()));
        secrets.remove(variable);
    }
    let Some(value) = env.get(variable).map(|value| Secret::new(value.to_owned())) else { return Vec::new() };
    if status(&base, &value).await != Some(401) {
        return Vec::new();
    }
    told("the environment");
    vec![variable]
}

async fn status(base: &str, token: &Secret) -> Option<u16> {
    let request = http::client().ok()?.get(format!("{base}/user")).bearer_auth(token.expose()).timeout(LIMIT);
    request.send().await.ok().map(|answer| answer.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Option<(&'static str, String)> {
        asked(&Environment::from_pairs(pairs.iter().copied())).map(|asked| (asked.variable, asked.base))
    }

    #[test]
    fn l_11_a_token_is_judged_by_the_host_that_it_is_for() {
        assert_eq!(of(&[]), Some(("GH_TOKEN", "https://api.github.com".into())));
        assert_eq!(of(&[("GH_HOST", "GitHub.com")]), Some(("GH_TOKEN", "https://api.github.com".into())));
        assert_eq!(of(&[("GH_HOST", "acme.ghe.com")]), Some(("GH_TOKEN", "https://api.acme.ghe.com".into())));
        let server = Some(("GH_ENTERPRISE_TOKEN", "https://git.acme.org/api/v3".into()));
        assert_eq!(of(&[("GH_HOST", "git.acme.org")]), server);
        for odd in ["a b", "user@github.com", "acme.org/x", "acme.org?x", ""] {
            let found = of(&[("GH_HOST", odd)]);
            assert_eq!(found.is_some(), odd.is_empty(), "{odd}: {found:?}");
        }
    }

    #[test]
    fn l_11_a_token_is_sent_over_https_or_to_this_machine_only() {
        for safe in ["https://api.acme.org/", "http://127.0.0.1:8", "http://[::1]:8/x", "http://localhost:8"] {
            let found = of(&[("GITHUB_API_URL", safe)]);
            assert_eq!(found, Some(("GH_TOKEN", safe.trim_end_matches('/').to_owned())));
        }
        for unsafe_ in ["http://api.acme.org", "http://localhost.acme.org", "ftp://127.0.0.1", "api.acme.org"] {
            assert_eq!(of(&[("GITHUB_API_URL", unsafe_)]), None, "{unsafe_}");
        }
    }
}
