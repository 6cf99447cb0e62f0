//! How a checkout stands to its remote, and whether it may be moved forward. Pure.

use ctxnode_model::rules::handoff::is_default_branch;

/// What `git status --porcelain=v2 --branch` said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The branch; `None` when the head is detached.
    pub branch: Option<String>,
    /// The branch that it follows.
    pub upstream: Option<String>,
    /// Commits that the upstream lacks.
    pub ahead: usize,
    /// Commits that are missing here.
    pub behind: usize,
    /// Changed and untracked files.
    pub dirty: usize,
}

/// What is done about a checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Nothing: it is current, or nobody knows.
    Nothing,
    /// It is moved forward by this many commits.
    FastForward(usize),
    /// It is left alone, and this is said.
    Say(String),
}

impl State {
    /// Reads the output of `git status --porcelain=v2 --branch`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut state = Self::default();
        for line in text.lines() {
            match line.strip_prefix("# branch.") {
                Some(rest) => match rest.split_once(' ') {
                    Some(("head", "(detached)")) => {}
                    Some(("head", name)) => state.branch = Some(name.to_owned()),
                    Some(("upstream", name)) => state.upstream = Some(name.to_owned()),
                    Some(("ab", counts)) => {
                        let count = |word: Option<&str>| word.and_then(|word| word[1..].parse().ok()).unwrap_or(0);
                        let mut words = counts.split(' ').filter(|word| word.len() > 1 && word.is_ascii());
                        (state.ahead, state.behind) = (count(words.next()), count(words.next()));
                    }
                    _ => {}
                },
                None if line.starts_with('#') => {}
                None => state.dirty += 1,
            }
        }
        state
    }
}

/// Decides: forward only when clean, on the default branch, and not ahead.
#[must_use]
pub fn decide(state: &State, default_branch: Option<&str>) -> Update {
    let on_default = state.branch.as_deref().is_some_and(|branch| is_default_branch(branch, default_branch));
    let mut facts = Vec::new();
    if state.behind > 0 {
        if state.dirty == 0 && state.ahead == 0 && on_default {
            return Update::FastForward(state.behind);
        }
        facts.push(format!("behind by {}", state.behind));
    }
    if state.ahead > 0 {
        facts.push(format!("ahead by {}", state.ahead));
    }
    if state.dirty > 0 {
        facts.push(format!("dirty ({} files)", state.dirty));
    }
    if facts.is_empty() { Update::Nothing } else { Update::Say(facts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read() {
        let text =
            "# branch.oid 1\n# branch.head main\n# branch.upstream origin/main\n# branch.ab +1 -2\n1 .M N... a\n? b\n";
        let expected =
            State { branch: Some("main".into()), upstream: Some("origin/main".into()), ahead: 1, behind: 2, dirty: 2 };
        assert_eq!(State::parse(text), expected);
        assert_eq!(State::parse("# branch.oid (initial)\n# branch.head (detached)\n"), State::default());
        assert_eq!(State::parse("# branch.ab é -\n").behind, 0);
    }

    #[test]
    fn l_08_only_a_clean_default_branch_that_is_just_behind_moves() {
        let state = |branch: &str, ahead, behind, dirty| State {
            branch: Some(branch.into()),
            ahead,
            behind,
            dirty,
            upstream: None,
        };
        let say = |text: &str| Update::Say(text.to_owned());
        assert_eq!(decide(&state("main", 0, 2, 0), None), Update::FastForward(2));
        assert_eq!(decide(&state("trunk", 0, 2, 0), Some("trunk")), Update::FastForward(2));
        assert_eq!(decide(&state("main", 0, 2, 1), None), say("behind by 2, dirty (1 files)"));
        assert_eq!(decide(&state("main", 1, 2, 0), None), say("behind by 2, ahead by 1"));
        assert_eq!(decide(&state("dev/x", 0, 2, 0), None), say("behind by 2"));
        assert_eq!(decide(&state("main", 0, 0, 3), None), say("dirty (3 files)"));
        assert_eq!(decide(&state("main", 0, 0, 0), None), Update::Nothing);
        assert_eq!(decide(&State { behind: 1, ..State::default() }, None), say("behind by 1"), "detached");
    }
}
