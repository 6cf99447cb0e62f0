//! The machine draft: the handoff that is written for a session which ended without one, from its last known state.
//!
//! No model is asked. Captured text is redacted and cut to the limits of a handoff, so that a draft is always valid.

use super::handoff::{Lists, derived_summary};
use super::limits::{DRAFT_FILES, DRAFT_MESSAGE_CHARS, ITEM_CHARS, LIST_ITEMS};
use super::secrets::redact;
use super::text::{cut, ellipsis};
use crate::record::HandoffStatus;

/// The last known state of a session: captures of its node, or what its record says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Commits since the start, oldest first: short id and subject.
    pub commits: Vec<String>,
    /// Pull requests seen, each as its address or number and title.
    pub pull_requests: Vec<String>,
    /// Changed and untracked files.
    pub changed_files: Vec<String>,
    /// The last assistant message or compaction summary.
    pub last_message: Option<String>,
    /// Why the last turn failed.
    pub failure: Option<String>,
    /// What the session waited for.
    pub blocked_on: Option<String>,
    /// What its open escalations need.
    pub escalations: Vec<String>,
    /// The branch.
    pub branch: Option<String>,
    /// The commit.
    pub commit_sha: Option<String>,
    /// Where the checkout is, with its machine: `mac1:~/src/alpha`.
    pub checkout: Option<String>,
}

/// The content of a machine draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Blocked when something is, else in progress.
    pub status: HandoffStatus,
    /// Derived from the lists.
    pub summary: String,
    /// The lists.
    pub lists: Lists,
    /// Whether there was any activity to tell of.
    pub activity: bool,
}

impl Captured {
    /// Writes the draft.
    #[must_use]
    pub fn draft(&self) -> Draft {
        let accomplished: Vec<String> = list(self.commits.iter().chain(&self.pull_requests));
        let files = (!self.changed_files.is_empty()).then(|| changed(&self.changed_files));
        let message = self.last_message.as_deref().map(str::trim).filter(|message| !message.is_empty());
        // Redaction comes before the cut: half a secret no longer looks like one.
        let message = message.map(|message| format!("Last message: {}", cut(&redact(message), DRAFT_MESSAGE_CHARS)));
        let mut in_progress: Vec<String> = list(files.iter().chain(&message));
        let blocked: Vec<String> = list(self.blocked_on.iter().chain(&self.escalations));
        let activity = !(accomplished.is_empty() && in_progress.is_empty() && blocked.is_empty());
        if !activity {
            in_progress.push("No activity was recorded in this session.".to_owned());
        }
        // That a turn failed is no work, and no reason to stop for somebody else.
        in_progress.extend(list(
            self.failure.iter().map(|why| format!("The last turn failed: {why}")).collect::<Vec<_>>().iter(),
        ));
        let status = if blocked.is_empty() { HandoffStatus::InProgress } else { HandoffStatus::Blocked };
        let lists = Lists { accomplished, in_progress, blocked, next_steps: vec![self.next_step()] };
        Draft { status, summary: derived_summary(status, &lists), lists, activity }
    }

    fn next_step(&self) -> String {
        let branch = self.branch.as_deref().map_or("an unknown branch".to_owned(), |branch| format!("branch {branch}"));
        let commit = self.commit_sha.as_deref().map(|commit| format!(" at commit {commit}")).unwrap_or_default();
        let checkout = self.checkout.as_deref().map(|checkout| format!(" in {checkout}")).unwrap_or_default();
        let step = format!("Continue on {branch}{commit}{checkout}; look at its uncommitted changes first.");
        ellipsis(&redact(&step), ITEM_CHARS)
    }
}

/// Redacts, cuts and bounds items; the last one says how many more there were.
fn list<'a>(items: impl Iterator<Item = &'a String>) -> Vec<String> {
    let items: Vec<String> = items
        .map(|item| ellipsis(&redact(item).replace('\0', " "), ITEM_CHARS))
        .filter(|item| !item.trim().is_empty())
        .collect();
    if items.len() <= LIST_ITEMS {
        return items;
    }
    let rest = items.len() - (LIST_ITEMS - 1);
    items.into_iter().take(LIST_ITEMS - 1).chain([format!("and {rest} more")]).collect()
}

fn changed(files: &[String]) -> String {
    let named = files.iter().take(DRAFT_FILES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match files.len().saturating_sub(DRAFT_FILES) {
        0 => format!("Changed files: {named}"),
        rest => format!("Changed files: {named} and {rest} more"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::handoff::{ContentFields, status_name};

    fn texts(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    fn worked() -> Captured {
        Captured {
            commits: texts(&["abc1234 Add the parser"]),
            pull_requests: texts(&["#12 Parser"]),
            changed_files: texts(&["src/a.rs", "src/b.rs"]),
            last_message: Some("Now the tests.".into()),
            failure: None,
            blocked_on: Some("review of #12".into()),
            escalations: texts(&["a deploy key"]),
            branch: Some("dev/m/parser".into()),
            commit_sha: Some("abc1234".into()),
            checkout: Some("mac1:~/src/x".into()),
        }
    }

    #[test]
    fn h_22_a_draft_holds_commits_files_and_what_blocks() {
        let draft = worked().draft();
        assert_eq!(draft.status, HandoffStatus::Blocked);
        assert!(draft.activity);
        assert_eq!(draft.lists.accomplished, ["abc1234 Add the parser", "#12 Parser"]);
        assert_eq!(draft.lists.in_progress, ["Changed files: src/a.rs, src/b.rs", "Last message: Now the tests."]);
        assert_eq!(draft.lists.blocked, ["review of #12", "a deploy key"]);
        assert_eq!(
            draft.lists.next_steps,
            [
                "Continue on branch dev/m/parser at commit abc1234 in mac1:~/src/x; look at its uncommitted changes first."
            ]
        );
        let failed = Captured { failure: Some("rate_limit: come back at 3 pm".into()), ..worked() }.draft();
        assert_eq!(failed.lists.in_progress[2], "The last turn failed: rate_limit: come back at 3 pm");
        let free = Captured { blocked_on: None, escalations: vec![], ..worked() };
        assert_eq!(free.draft().status, HandoffStatus::InProgress);
    }

    #[test]
    fn h_23_a_draft_without_activity_says_so() {
        let draft = Captured { branch: Some("main".into()), ..Captured::default() }.draft();
        assert!(!draft.activity);
        assert!(draft.summary.contains("No activity was recorded"));
        let failed = Captured { failure: Some("overloaded".into()), ..Captured::default() }.draft();
        assert!(!failed.activity, "a turn that failed did nothing");
    }

    #[test]
    fn h_26_a_captured_secret_is_redacted_also_across_the_cut() {
        let secret = format!("ghp_{}", "a1B2".repeat(9));
        let message = format!("{} {secret}", "x".repeat(DRAFT_MESSAGE_CHARS - 10));
        let captured = Captured { last_message: Some(message), commits: vec![format!("use {secret}")], ..worked() };
        let draft = captured.draft();
        assert_eq!(draft.lists.accomplished[0], "use [redacted: GitHub token]");
        assert!(!format!("{draft:?}").contains("ghp_"));
    }

    proptest! {
        #[test]
        fn every_draft_is_a_valid_handoff(
            commits in proptest::collection::vec(".{0,50}", 0..300),
            files in proptest::collection::vec(".{0,80}", 0..60),
            message in proptest::option::of(".{0,3000}"),
            blocked_on in proptest::option::of(".{0,20}"),
        ) {
            let draft = Captured { commits, changed_files: files, last_message: message, blocked_on, ..worked() }.draft();
            let status = Some(status_name(draft.status).to_owned());
            let content = ContentFields { lists: draft.lists, status, ..ContentFields::default() };
            prop_assert!(content.validate().is_ok(), "{:?}", content.validate());
        }
    }
}
