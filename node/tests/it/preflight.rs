//! Preflight as somebody asks it: what is wrong with the login of `gh` is told apart.

use serde_json::{Value, json};

use crate::support::{agent, person, ready, start, text};

/// M-10: absent, unauthenticated, forbidden and offline are four results, and only a 401 says that the login is dead.
#[test]
fn m_10_the_states_of_a_github_login_are_told_apart() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let login = || {
        let reply = person(&sandbox).do_("preflight", json!({}));
        let rows = reply["checks"].as_array().unwrap();
        assert_ne!(reply["summary"], "critical checks failed", "{reply}");
        rows.iter().find(|row| row["name"] == "GitHub login").unwrap_or_else(|| panic!("{reply}")).clone()
    };
    let mut seen: Vec<Value> = vec![login()];
    for (code, errors) in [
        (1, "gh: Bad credentials (HTTP 401)"),
        (1, "gh: Resource not accessible by personal access token (HTTP 403)"),
        (1, "error connecting to api.github.com"),
    ] {
        sandbox.fake_program("gh", &format!("echo '{errors}' >&2; exit {code}"));
        seen.push(login());
    }
    let dead: Vec<bool> = seen.iter().map(|row| text(row, "message").contains("login dead")).collect();
    assert_eq!(dead, [false, true, false, false], "{seen:?}");
    let messages: std::collections::BTreeSet<&str> = seen.iter().map(|row| text(row, "message")).collect();
    assert_eq!(messages.len(), 4, "{seen:?}");
    sandbox.fake_program("gh", "[ \"$*\" = 'api user --jq .login' ] && echo ada");
    let good = agent(&sandbox, "claude-mac-1", &sandbox.dev_dir()).do_("preflight", json!({}));
    assert!(good["checks"].as_array().unwrap().iter().any(|row| text(row, "message").starts_with("ada, ")), "{good}");
}
