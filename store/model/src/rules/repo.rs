//! Repos: reading git remotes, the form of the repo field, and which venture a repo belongs to.

use super::limits::REPO_CHARS;
use super::text::chars;
use crate::Invalid;
use crate::record::Venture;

/// Returns `owner/name` of a git remote, the owner in lower case; `None` for paths and for what is no remote.
///
/// Reads https, ssh and scp-like forms on any host. Of a nested group the last two parts are taken.
#[must_use]
pub fn parse_remote(remote: &str) -> Option<String> {
    let path = remote_path(remote.trim())?;
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let (rest, name) = path.rsplit_once('/')?;
    let owner = rest.rsplit('/').next().unwrap_or(rest);
    let repo = format!("{}/{name}", owner.to_ascii_lowercase());
    is_repo(&repo).then_some(repo)
}

/// Returns the path part of a remote that names a host.
fn remote_path(remote: &str) -> Option<&str> {
    if let Some((scheme, rest)) = remote.split_once("://") {
        let known = ["http", "https", "ssh", "git", "git+ssh", "git+https", "ssh+git"];
        let (host, path) = rest.split_once('/')?;
        return (known.contains(&scheme.to_ascii_lowercase().as_str()) && !host.is_empty()).then_some(path);
    }
    // scp-like: `user@host:path`. A single letter before the colon is a Windows drive.
    let (host, path) = remote.split_once(':')?;
    let named = host.len() > 1 && !host.contains(['/', '\\', ' ']);
    named.then_some(path)
}

/// Returns the repo field of a checkout without a usable remote.
#[must_use]
pub fn local_repo(directory: &str) -> String {
    let allowed = |c: char| if is_part_char(c) { c } else { '-' };
    let name: String = directory.chars().map(allowed).take(REPO_CHARS - "local/".len()).collect();
    if matches!(name.as_str(), "" | "." | "..") { "local/unnamed".to_owned() } else { format!("local/{name}") }
}

/// Whether a text has the form of a repo field: `owner/name`, at most 200 characters.
#[must_use]
pub fn is_repo(text: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(is_part_char);
    chars(text) <= REPO_CHARS && text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

/// Returns the last address of a pull request in a text: `https://host/owner/name/pull/number`.
#[must_use]
pub fn pull_request_in(text: &str) -> Option<&str> {
    let starts = text.rmatch_indices("https://").map(|(at, _)| &text[at..]);
    starts.filter_map(|rest| rest.split(|c: char| c.is_whitespace() || "\"'<>()[]`,;".contains(c)).next()).find(
        |address| {
            let parts: Vec<&str> = address["https://".len()..].split('/').collect();
            let [host, owner, name, "pull", number] = parts.as_slice() else { return false };
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
            let number = !number.is_empty() && number.len() <= 10 && number.chars().all(|c| c.is_ascii_digit());
            !host.is_empty()
                && host.len() <= REPO_CHARS
                && host.chars().all(plain)
                && number
                && is_repo(&format!("{owner}/{name}"))
        },
    )
}

/// Notes a repo field of the wrong form.
pub fn check_repo(invalid: &mut Invalid, field: &str, repo: &str) {
    let message = format!("must be owner/name of letters, digits, `.`, `_` and `-`, at most {REPO_CHARS} characters");
    invalid.require(is_repo(repo), field, message);
}

/// Whether two repo fields name one repo: without case in the owner.
#[must_use]
pub fn same_repo(a: &str, b: &str) -> bool {
    match (a.split_once('/'), b.split_once('/')) {
        (Some((a_owner, a_name)), Some((b_owner, b_name))) => a_owner.eq_ignore_ascii_case(b_owner) && a_name == b_name,
        _ => a == b,
    }
}

/// Which venture a checkout belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VentureMatch {
    /// One venture.
    Found {
        /// Its code.
        code: String,
        /// The repo that led to it.
        repo: String,
    },
    /// Several ventures have the org of the repo.
    Ambiguous {
        /// The repo.
        repo: String,
        /// The ventures, by code.
        codes: Vec<String>,
    },
    /// No venture knows any of the remotes.
    Unknown {
        /// The repo of the first readable remote.
        repo: Option<String>,
    },
}

/// Finds the venture of a checkout from its remotes, origin first.
///
/// A repo listed by a venture decides. Otherwise the org does, when exactly one venture has it; a venture that lists
/// repos has only those. Archived ventures take no part.
#[must_use]
pub fn match_venture<'a>(remotes: &[&str], ventures: impl IntoIterator<Item = &'a Venture>) -> VentureMatch {
    let ventures: Vec<&Venture> = ventures.into_iter().filter(|venture| !venture.archived).collect();
    let repos: Vec<String> = remotes.iter().filter_map(|remote| parse_remote(remote)).collect();
    for repo in &repos {
        let lists = |venture: &&&Venture| venture.repos.iter().any(|listed| same_repo(listed, repo));
        match ventures.iter().filter(lists).collect::<Vec<_>>().as_slice() {
            [] => {}
            [one] => return VentureMatch::Found { code: one.code.clone(), repo: repo.clone() },
            several => return ambiguous(repo, several),
        }
    }
    for repo in &repos {
        let owner = repo.split('/').next().unwrap_or_default();
        let has_org = |venture: &&&Venture| venture.org.as_deref().is_some_and(|org| org.eq_ignore_ascii_case(owner));
        match ventures.iter().filter(has_org).collect::<Vec<_>>().as_slice() {
            [one] if one.repos.is_empty() => {
                return VentureMatch::Found { code: one.code.clone(), repo: repo.clone() };
            }
            [] | [_] => {}
            several => return ambiguous(repo, several),
        }
    }
    VentureMatch::Unknown { repo: repos.into_iter().next() }
}

fn ambiguous(repo: &str, ventures: &[&&Venture]) -> VentureMatch {
    let mut codes: Vec<String> = ventures.iter().map(|venture| venture.code.clone()).collect();
    codes.sort_unstable();
    VentureMatch::Ambiguous { repo: repo.to_owned(), codes }
}

fn is_part_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn venture(code: &str, org: &str, repos: &[&str]) -> Venture {
        Venture {
            code: code.into(),
            org: Some(org.into()),
            repos: repos.iter().map(|repo| (*repo).to_owned()).collect(),
            ..Venture::default()
        }
    }

    fn found(code: &str, repo: &str) -> VentureMatch {
        VentureMatch::Found { code: code.into(), repo: repo.into() }
    }

    #[test]
    fn the_last_address_of_a_pull_request_is_found() {
        let found = |text: &str| pull_request_in(text).map(str::to_owned);
        let some = |text: &str| Some(text.to_owned());
        let address = "https://github.com/a-org/b.c/pull/42";
        assert_eq!(found(&format!("https://github.com/a/b/pull/1 and {address}\n")), some(address));
        assert_eq!(found(&format!("<{address}>, see https://github.com/a/b/issues/7")), some(address));
        assert_eq!(found("https://git.example.com:8443/a/b/pull/7"), some("https://git.example.com:8443/a/b/pull/7"));
        for text in [
            "",
            "https://",
            "https://github.com/a/b/pull/",
            "https://github.com/a/b/pull/x",
            "https://github.com/a/pull/1",
            "http://github.com/a/b/pull/1",
            "https://user@h/a/b/pull/1",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn p_05_every_form_of_remote_is_read() {
        for remote in [
            "https://github.com/example-org/site.com",
            "https://github.com/Example-Org/site.com.git",
            "https://user:pw@github.com/example-org/site.com.git/",
            "http://github.com:8080/EXAMPLE-ORG/site.com",
            "ssh://git@GitHub.com/example-org/site.com.git",
            "ssh://git@ssh.github.com:443/example-org/site.com.git",
            "git@github.com:example-org/site.com.git",
            "github.com:/example-org/site.com",
            "git@gitlab.example:group/example-org/site.com.git",
        ] {
            assert_eq!(parse_remote(remote).as_deref(), Some("example-org/site.com"), "{remote}");
        }
    }

    #[test]
    fn p_05_what_is_no_remote_is_no_error() {
        for remote in [
            "",
            "/srv/git/x.git",
            "../x",
            "file:///srv/git/x.git",
            "C:\\work\\x",
            "https://github.com",
            "git@host:x",
            "a b",
            "https://h/a/.git",
        ] {
            assert_eq!(parse_remote(remote), None, "{remote}");
        }
    }

    #[test]
    fn p_05_a_listed_repo_tells_ventures_of_one_org_apart() {
        let ventures =
            [venture("alpha", "Example-Org", &["example-org/a"]), venture("beta", "example-org", &["Example-Org/b"])];
        assert_eq!(match_venture(&["git@github.com:example-org/a.git"], &ventures), found("alpha", "example-org/a"));
        assert_eq!(match_venture(&["https://github.com/EXAMPLE-ORG/b"], &ventures), found("beta", "example-org/b"));
        let ambiguous =
            VentureMatch::Ambiguous { repo: "example-org/c".into(), codes: vec!["alpha".into(), "beta".into()] };
        assert_eq!(match_venture(&["https://github.com/example-org/c"], &ventures), ambiguous);
    }

    #[test]
    fn p_05_the_org_decides_only_for_one_venture_that_does_not_list_others() {
        let open = [venture("alpha", "example-org", &[])];
        assert_eq!(match_venture(&["https://github.com/Example-Org/x"], &open), found("alpha", "example-org/x"));
        let listed = [venture("alpha", "example-org", &["example-org/a"])];
        let unknown = VentureMatch::Unknown { repo: Some("example-org/x".into()) };
        assert_eq!(match_venture(&["https://github.com/example-org/x"], &listed), unknown);
        let archived = [Venture { archived: true, ..open[0].clone() }];
        assert_eq!(match_venture(&["https://github.com/example-org/x"], &archived), unknown);
        assert_eq!(match_venture(&[], &open), VentureMatch::Unknown { repo: None });
    }

    #[test]
    fn p_05_a_listed_upstream_beats_the_org_of_the_fork() {
        let ventures = [venture("mine", "me", &[]), venture("alpha", "example-org", &["example-org/x"])];
        let remotes = ["git@github.com:me/x.git", "https://github.com/example-org/x"];
        assert_eq!(match_venture(&remotes, &ventures), found("alpha", "example-org/x"));
    }

    #[test]
    fn a_checkout_without_remote_gets_a_valid_local_name() {
        assert_eq!(local_repo("my project"), "local/my-project");
        assert_eq!(local_repo(""), "local/unnamed");
        assert_eq!(local_repo(".."), "local/unnamed");
    }

    proptest! {
        #[test]
        fn whatever_is_read_has_the_form_of_a_repo(text in ".{0,60}") {
            prop_assert!(parse_remote(&text).is_none_or(|repo| is_repo(&repo)));
            prop_assert!(is_repo(&local_repo(&text)));
        }
    }
}
