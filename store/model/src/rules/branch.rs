//! Branches and checkouts: the name proposed for new work, and warnings when sessions get in each other's way.

use super::handoff::is_default_branch;
use super::limits::SLUG_CHARS;

/// Who shares a machine with the session that a branch is proposed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// It is the only live session of this machine in the repo.
    Alone,
    /// There are others.
    Others,
}

/// Returns `dev/<host>/<slug>`, or `dev/<instance>/<slug>` when the machine has other live sessions in the repo.
#[must_use]
pub fn propose_branch(company: Company, host: &str, instance: &str, slug: &str) -> String {
    let owner = match company {
        Company::Alone => host,
        Company::Others => instance,
    };
    format!("dev/{owner}/{slug}")
}

/// Returns the slug of an issue: its title in `[a-z0-9-]`, at most 40 characters, else `issue-<n>`.
#[must_use]
pub fn slug(title: Option<&str>, issue: Option<u32>) -> String {
    let mut slug = String::new();
    for c in title.unwrap_or_default().chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(SLUG_CHARS);
    slug.truncate(slug.trim_end_matches('-').len());
    match (slug.is_empty(), issue) {
        (false, _) => slug,
        (true, Some(issue)) => format!("issue-{issue}"),
        (true, None) => "work".to_owned(),
    }
}

/// What warnings look at in a live session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Who.
    pub agent: String,
    /// On which machine.
    pub machine: String,
    /// In which repo.
    pub repo: String,
    /// The session's branch.
    pub branch: Option<String>,
    /// The branch of its checkout, when this node can see it.
    pub checkout_branch: Option<String>,
    /// The directory of its checkout, when this node can see it.
    pub checkout: Option<String>,
    /// The track.
    pub track: Option<u32>,
}

/// Something that sessions should know of each other, or of their checkout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// Another live session is on the same branch, which is not the default one.
    SharedBranch {
        /// Who.
        agent: String,
        /// The branch.
        branch: String,
    },
    /// Another live session works in the same directory.
    SharedCheckout {
        /// Who.
        agent: String,
        /// The directory.
        checkout: String,
    },
    /// Another live session has the same track.
    SharedTrack {
        /// Who.
        agent: String,
        /// The track.
        track: u32,
    },
    /// The checkout is on another branch than the session says.
    BranchDiffers {
        /// The session's.
        session: String,
        /// The checkout's.
        checkout: String,
    },
}

/// Returns the warnings for one session about the other live ones of its venture.
#[must_use]
pub fn warnings(me: &Place, others: &[Place], default_branch: Option<&str>) -> Vec<Warning> {
    let mut out = Vec::new();
    if let (Some(session), Some(checkout)) = (&me.branch, &me.checkout_branch)
        && session != checkout
    {
        out.push(Warning::BranchDiffers { session: session.clone(), checkout: checkout.clone() });
    }
    for other in others {
        let same_repo = super::repo::same_repo(&me.repo, &other.repo);
        let agent = || other.agent.clone();
        if let Some(checkout) =
            me.checkout.as_ref().filter(|_| me.machine == other.machine && me.checkout == other.checkout)
        {
            out.push(Warning::SharedCheckout { agent: agent(), checkout: checkout.clone() });
        }
        let own = me.branch.as_ref().filter(|branch| !is_default_branch(branch, default_branch));
        if let Some(branch) = own.filter(|_| same_repo && me.branch == other.branch) {
            out.push(Warning::SharedBranch { agent: agent(), branch: branch.clone() });
        }
        if let Some(track) = me.track.filter(|_| same_repo && me.track == other.track) {
            out.push(Warning::SharedTrack { agent: agent(), track });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn w_08_a_branch_is_proposed_from_the_issue() {
        let slug = slug(Some("Fix auth timeout!"), Some(12));
        assert_eq!(propose_branch(Company::Alone, "mac1", "k3v9x2aa", &slug), "dev/mac1/fix-auth-timeout");
        assert_eq!(propose_branch(Company::Others, "mac1", "k3v9x2aa", &slug), "dev/k3v9x2aa/fix-auth-timeout");
    }

    #[test]
    fn a_title_without_letters_falls_back_to_the_number() {
        assert_eq!(slug(Some("修复"), Some(12)), "issue-12");
        assert_eq!(slug(None, None), "work");
    }

    fn place(agent: &str, machine: &str, branch: &str, checkout: &str) -> Place {
        Place {
            agent: agent.into(),
            machine: machine.into(),
            repo: "org/x".into(),
            branch: Some(branch.into()),
            checkout: Some(checkout.into()),
            ..Place::default()
        }
    }

    #[test]
    fn w_07_a_shared_branch_or_checkout_warns_and_the_default_branch_does_not() {
        let warn = |a: &Place, b: &Place| warnings(a, std::slice::from_ref(b), None);
        let (a, b) = (place("a", "m1", "dev/x", "/s"), place("b", "m2", "dev/x", "/s"));
        assert_eq!(warn(&a, &b), [Warning::SharedBranch { agent: "b".into(), branch: "dev/x".into() }]);
        assert_eq!(warn(&b, &a), [Warning::SharedBranch { agent: "a".into(), branch: "dev/x".into() }]);
        assert_eq!(warn(&place("a", "m1", "main", "/s"), &place("b", "m2", "main", "/s")), []);
        let shared = [Warning::SharedCheckout { agent: "b".into(), checkout: "/s".into() }];
        assert_eq!(warn(&place("a", "m1", "main", "/s"), &place("b", "m1", "main", "/s")), shared);
        let other_repo = Place { repo: "org/y".into(), checkout: None, ..b };
        assert_eq!(warn(&a, &other_repo), []);
    }

    #[test]
    fn a_checkout_on_another_branch_and_a_shared_track_warn() {
        let me = Place { checkout_branch: Some("main".into()), track: Some(0), ..place("a", "m1", "dev/x", "/s") };
        let other = Place { track: Some(0), ..place("b", "m2", "dev/y", "/t") };
        let differs = Warning::BranchDiffers { session: "dev/x".into(), checkout: "main".into() };
        assert_eq!(warnings(&me, &[other], None), [differs, Warning::SharedTrack { agent: "b".into(), track: 0 }]);
        assert_eq!(warnings(&place("a", "m1", "d", "/s"), &[place("b", "m2", "e", "/s")], None), []);
    }

    proptest! {
        #[test]
        fn a_slug_is_never_empty_and_keeps_its_form(title in ".{0,80}") {
            let slug = slug(Some(&title), None);
            prop_assert!((1..=SLUG_CHARS).contains(&slug.len()));
            prop_assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(!slug.starts_with('-') && !slug.ends_with('-'));
        }
    }
}
