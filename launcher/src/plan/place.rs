//! Where the agent works: the checkout of a venture on this machine, or the repo that has to be cloned.

use std::path::Path;

use ctxnode_api::operations::VentureView;
use ctxnode_model::record::Venture;
use ctxnode_model::rules::repo::{VentureMatch, match_venture, parse_remote, same_repo};

use crate::checkout::Checkout;

/// Where a venture's repo is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// Checked out here.
    Here {
        /// The checkout.
        checkout: &'a Checkout,
        /// `owner/name`.
        repo: String,
    },
    /// Nowhere on this machine.
    Missing {
        /// The repo to clone, when the venture names one.
        repo: Option<String>,
    },
}

/// Finds the checkout of a venture by full remotes: the current one if it is one, else the first of its repos.
#[must_use]
pub fn find<'a>(venture: &VentureView, all: &[VentureView], checkouts: &'a [Checkout], directory: &Path) -> Place<'a> {
    let records: Vec<Venture> = all.iter().map(record).collect();
    let own = checkouts.iter().filter_map(|checkout| {
        let remotes: Vec<&str> = checkout.remotes.iter().map(String::as_str).collect();
        match match_venture(&remotes, &records) {
            VentureMatch::Found { code, repo } if code == venture.code => Some((checkout, repo)),
            // Several ventures may share the org of a repo; one that lists the repo was found above.
            _ => None,
        }
    });
    let mut own: Vec<(&Checkout, String)> = own.collect();
    let rank = |repo: &str| venture.repos.iter().position(|listed| same_repo(listed, repo)).unwrap_or(usize::MAX);
    own.sort_by_key(|(checkout, repo)| (!directory.starts_with(&checkout.path), rank(repo), checkout.path.clone()));
    match own.into_iter().next() {
        Some((checkout, repo)) => Place::Here { checkout, repo },
        None => Place::Missing { repo: venture.repos.first().cloned() },
    }
}

/// Returns the part of a venture that decides which repos are its own.
fn record(view: &VentureView) -> Venture {
    Venture {
        code: view.code.clone(),
        org: view.org.clone(),
        repos: view.repos.clone(),
        archived: view.archived,
        ..Venture::default()
    }
}

/// Returns `owner/name` of the checkout's first readable remote.
#[must_use]
pub fn repo_of(checkout: &Checkout) -> Option<String> {
    checkout.remotes.iter().find_map(|remote| parse_remote(remote))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixture::{checkout, ventures};

    fn found(code: &str, checkouts: &[Checkout], directory: &str) -> Option<String> {
        let all = ventures();
        let venture = all.iter().find(|venture| venture.code == code).unwrap();
        match find(venture, &all, checkouts, Path::new(directory)) {
            Place::Here { checkout, .. } => Some(checkout.path.display().to_string()),
            Place::Missing { .. } => None,
        }
    }

    #[test]
    fn a_checkout_is_known_by_its_full_remote_and_not_by_its_name() {
        let checkouts = [
            checkout("/dev/console", "git@github.com:other-org/console.git"),
            checkout("/dev/x", "https://github.com/Alpha-Org/console"),
        ];
        assert_eq!(found("alpha", &checkouts, "/dev").as_deref(), Some("/dev/x"));
        assert_eq!(found("beta", &checkouts, "/dev"), None);
    }

    #[test]
    fn the_current_checkout_beats_the_order_of_repos() {
        let checkouts = [
            checkout("/dev/a", "git@github.com:alpha-org/api.git"),
            checkout("/dev/c", "git@github.com:alpha-org/console.git"),
        ];
        assert_eq!(found("alpha", &checkouts, "/elsewhere").as_deref(), Some("/dev/a"));
        assert_eq!(found("alpha", &checkouts, "/dev/c/src").as_deref(), Some("/dev/c"));
        assert_eq!(found("alpha", &checkouts, "/dev/cc").as_deref(), Some("/dev/a"));
    }

    #[test]
    fn a_venture_without_repos_has_those_of_its_org() {
        let checkouts = [checkout("/dev/s", "ssh://git@host/beta-org/shop.git")];
        assert_eq!(found("beta", &checkouts, "/").as_deref(), Some("/dev/s"));
    }
}
