//! Handoffs: what their content must be, the summary and payload made of it, their thread, and whom they are for.

use serde_json::{Map, Value};
use thiserror::Error;

use super::canonical::{Canonical, CanonicalError};
use super::identity::cli_part;
use super::limits::{DERIVED_SUMMARY_CHARS, ITEM_CHARS, LIST_ITEMS, PAYLOAD_BYTES, SUMMARY_CHARS, THREAD_CHARS};
use super::text::{cut, near, require_chars, require_line};
use crate::Invalid;
use crate::record::HandoffStatus;

/// The form of the payload that this version writes.
pub const SCHEMA_VERSION: &str = "1.0";

/// The four lists of a handoff.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// What was finished.
    pub accomplished: Vec<String>,
    /// What was begun.
    pub in_progress: Vec<String>,
    /// What stops the work.
    pub blocked: Vec<String>,
    /// What to do next.
    pub next_steps: Vec<String>,
}

impl Lists {
    /// Returns the lists with their field names, in the order in which they are shown.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &[String]); 4] {
        [
            ("accomplished", &self.accomplished),
            ("in_progress", &self.in_progress),
            ("blocked", &self.blocked),
            ("next_steps", &self.next_steps),
        ]
    }

    /// Reads the lists back from a stored payload; what is not a list of texts is left out.
    #[must_use]
    pub fn from_payload(payload: &str) -> Self {
        let value: Value = serde_json::from_str(payload).unwrap_or_default();
        let list = |name: &str| {
            let items = value.get(name).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            accomplished: list("accomplished"),
            in_progress: list("in_progress"),
            blocked: list("blocked"),
            next_steps: list("next_steps"),
        }
    }
}

/// The content of a handoff as the caller gave it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContentFields {
    /// The lists; absent ones are empty.
    pub lists: Lists,
    /// Required.
    pub status: Option<String>,
    /// Derived when absent.
    pub summary: Option<String>,
    /// An agent id, a machine name or a CLI name.
    pub to_agent: Option<String>,
    /// A thread of the caller's choice.
    pub thread: Option<String>,
    /// Anything else that the next agent should have.
    pub extra: Option<Map<String, Value>>,
}

/// The content of a handoff after validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// How the work stands.
    pub status: HandoffStatus,
    /// As given, or derived.
    pub summary: String,
    /// The four lists and `extra`, canonical.
    pub payload: Canonical,
}

/// Why the content of a handoff was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ContentError {
    /// Fields are bad.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The canonical payload is too large.
    #[error("the payload has {size} bytes of canonical JSON; at most {limit} are allowed")]
    TooLarge {
        /// Its bytes.
        size: usize,
        /// The limit.
        limit: usize,
    },
}

impl ContentFields {
    /// Checks all fields at once and makes summary and payload.
    ///
    /// # Errors
    /// Every bad field; or the size, when the fields are good and the payload is too large.
    pub fn validate(&self) -> Result<Content, ContentError> {
        let mut invalid = Invalid::new();
        let status = self.check_status(&mut invalid);
        self.check_lists(&mut invalid, status);
        if let Some(summary) = &self.summary {
            require_chars(&mut invalid, "summary", summary, SUMMARY_CHARS);
        }
        if let Some(to_agent) = &self.to_agent {
            require_line(&mut invalid, "to_agent", to_agent, super::limits::TITLE_CHARS);
        }
        if let Some(thread) = &self.thread {
            require_line(&mut invalid, "thread", thread, THREAD_CHARS);
        }
        let payload = payload(&self.lists, self.extra.as_ref());
        if let Err(error) = &payload {
            invalid.add("extra", error.to_string());
        }
        let (Some(status), Ok(payload), true) = (status, payload, invalid.fields.is_empty()) else {
            return Err(invalid.into());
        };
        if payload.size() > PAYLOAD_BYTES {
            return Err(ContentError::TooLarge { size: payload.size(), limit: PAYLOAD_BYTES });
        }
        let summary = self.summary.clone().unwrap_or_else(|| derived_summary(status, &self.lists));
        Ok(Content { status, summary, payload })
    }

    /// Returns every text of the content with its path, for the secret scan; `extra` is scanned as a value.
    #[must_use]
    pub fn texts(&self) -> Vec<(String, &str)> {
        let mut out = Vec::new();
        for (name, items) in self.lists.named() {
            out.extend(items.iter().enumerate().map(|(index, item)| (format!("{name}[{index}]"), item.as_str())));
        }
        let single = [("summary", &self.summary), ("to_agent", &self.to_agent), ("thread", &self.thread)];
        out.extend(single.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.as_deref()?))));
        out
    }

    fn check_status(&self, invalid: &mut Invalid) -> Option<HandoffStatus> {
        let Some(text) = self.status.as_deref() else {
            invalid.add("status", "is required: in_progress, blocked or done");
            return None;
        };
        let status = parse_status(text);
        if status.is_none() {
            let normal = text.to_lowercase().replace(['-', ' '], "_");
            let near = near(&normal, &["in_progress", "blocked", "done"]);
            let hint = near.first().map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            invalid.add("status", format!("must be in_progress, blocked or done{hint}"));
        }
        status
    }

    fn check_lists(&self, invalid: &mut Invalid, status: Option<HandoffStatus>) {
        let lists = self.lists.named();
        if lists.iter().all(|(_, items)| items.is_empty()) {
            let message = "at least one of accomplished, in_progress, blocked and next_steps must hold an item";
            invalid.add("accomplished", message);
        }
        for (name, items) in lists {
            if items.len() > LIST_ITEMS {
                invalid.add(name, format!("has {} items; at most {LIST_ITEMS} are allowed", items.len()));
            }
            for (index, item) in items.iter().enumerate().take(LIST_ITEMS) {
                require_chars(invalid, &format!("{name}[{index}]"), item, ITEM_CHARS);
            }
        }
        match status {
            Some(HandoffStatus::InProgress) if self.lists.next_steps.is_empty() => {
                invalid.add("next_steps", "status in_progress needs at least one next step");
            }
            Some(HandoffStatus::Blocked) if self.lists.blocked.is_empty() => {
                invalid.add("blocked", "status blocked needs at least one blocked item");
            }
            _ => {}
        }
    }
}

/// Returns the status of its exact name.
#[must_use]
pub fn parse_status(text: &str) -> Option<HandoffStatus> {
    match text {
        "in_progress" => Some(HandoffStatus::InProgress),
        "blocked" => Some(HandoffStatus::Blocked),
        "done" => Some(HandoffStatus::Done),
        _ => None,
    }
}

/// Returns the name of a status.
#[must_use]
pub fn status_name(status: HandoffStatus) -> &'static str {
    match status {
        HandoffStatus::InProgress => "in_progress",
        HandoffStatus::Blocked => "blocked",
        HandoffStatus::Done => "done",
    }
}

/// Returns the canonical payload: always all four lists, and `extra` when given.
///
/// # Errors
/// When `extra` holds a number without a canonical form.
pub fn payload(lists: &Lists, extra: Option<&Map<String, Value>>) -> Result<Canonical, CanonicalError> {
    let mut payload = Map::new();
    for (name, items) in lists.named() {
        payload.insert(name.to_owned(), Value::from(items.to_vec()));
    }
    if let Some(extra) = extra {
        payload.insert("extra".to_owned(), Value::Object(extra.clone()));
    }
    Canonical::of(&Value::Object(payload))
}

/// Returns `<status>: <first accomplished or in_progress item>. Next: <first next step>.`, cut to 500 characters.
///
/// A part without an item is left out; a handoff with nothing but blocked items names the first of them.
#[must_use]
pub fn derived_summary(status: HandoffStatus, lists: &Lists) -> String {
    let sentence = |text: &str| format!("{}.", text.trim().trim_end_matches('.'));
    let work = lists.accomplished.first().or(lists.in_progress.first()).or(lists.blocked.first());
    let mut summary = status_name(status).to_owned();
    summary.push(':');
    if let Some(work) = work {
        summary = format!("{summary} {}", sentence(work));
    }
    if let Some(next) = lists.next_steps.first() {
        summary = format!("{summary} Next: {}", sentence(next));
    }
    cut(&summary, DERIVED_SUMMARY_CHARS).to_owned()
}

/// What the thread of a handoff is made from.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadSource<'a> {
    /// As given by the request or by the session that continues a thread.
    pub given: Option<&'a str>,
    /// The repo.
    pub repo: &'a str,
    /// The issue.
    pub issue: Option<u32>,
    /// The branch.
    pub branch: Option<&'a str>,
    /// The default branch of the repo, when it is known.
    pub default_branch: Option<&'a str>,
    /// The session.
    pub session_id: &'a str,
}

/// Returns the thread key. Handoffs of one thread supersede each other.
#[must_use]
pub fn thread_key(source: ThreadSource<'_>) -> String {
    let ThreadSource { given, repo, issue, branch, default_branch, session_id } = source;
    let branch = branch.filter(|branch| !is_default_branch(branch, default_branch));
    match (given, issue, branch) {
        (Some(thread), _, _) => thread.to_owned(),
        (None, Some(issue), _) => format!("issue:{repo}#{issue}"),
        (None, None, Some(branch)) => format!("branch:{repo}:{branch}"),
        (None, None, None) => format!("session:{session_id}"),
    }
}

/// Whether a branch is the default one; where that is not known, `main` and `master` are.
#[must_use]
pub fn is_default_branch(branch: &str, default_branch: Option<&str>) -> bool {
    default_branch.map_or(matches!(branch, "main" | "master"), |default| default == branch)
}

/// An agent as handoffs address it.
#[derive(Clone, Copy, Debug)]
pub struct Addressee<'a> {
    /// The agent id.
    pub agent: &'a str,
    /// The machine part.
    pub machine: &'a str,
    /// The CLI.
    pub cli: Option<&'a str>,
}

/// Whether a handoff with that `to_agent` is for an agent: it names its id, its machine or its CLI.
#[must_use]
pub fn is_for(to_agent: Option<&str>, me: Addressee<'_>) -> bool {
    let Some(to) = to_agent else { return false };
    // People write the host name; records hold the normalised part.
    let machine = to.eq_ignore_ascii_case(me.machine) || super::identity::machine_part(to) == me.machine;
    to == me.agent || machine || me.cli.is_some_and(|cli| to.eq_ignore_ascii_case(cli) || to == cli_part(cli))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    fn done(accomplished: &[&str]) -> ContentFields {
        ContentFields {
            lists: Lists { accomplished: list(accomplished), ..Lists::default() },
            status: Some("done".into()),
            ..ContentFields::default()
        }
    }

    #[track_caller]
    fn refused(fields: &ContentFields) -> Vec<String> {
        match fields.validate() {
            Err(ContentError::Invalid(invalid)) => invalid.fields.into_iter().map(|field| field.field).collect(),
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn h_08_a_summary_alone_is_refused_and_one_list_brings_all_four() {
        let summary = Some("all fine".to_owned());
        assert_eq!(refused(&ContentFields { summary: summary.clone(), ..done(&[]) }), ["accomplished"]);
        let content = ContentFields { summary, ..done(&["a"]) }.validate().unwrap();
        assert_eq!(content.summary, "all fine");
        assert_eq!(content.payload.text, r#"{"accomplished":["a"],"blocked":[],"in_progress":[],"next_steps":[]}"#);
        assert_ne!(content.payload.hash, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        assert_eq!(Lists::from_payload(&content.payload.text).accomplished, ["a"]);
    }

    #[test]
    fn h_09_a_status_needs_its_list_and_done_may_have_next_steps() {
        let as_status = |status: &str| ContentFields { status: Some(status.into()), ..done(&["a"]) };
        assert_eq!(refused(&as_status("in_progress")), ["next_steps"]);
        assert_eq!(refused(&as_status("blocked")), ["blocked"]);
        let mut fields = done(&["a"]);
        fields.lists.next_steps = list(&["b"]);
        assert!(fields.validate().is_ok());
    }

    #[test]
    fn h_18_other_spellings_of_a_status_are_refused_with_the_allowed_ones() {
        for status in ["in-progress", "completed", "Done", ""] {
            let Err(ContentError::Invalid(invalid)) =
                (ContentFields { status: Some(status.into()), ..done(&["a"]) }).validate()
            else {
                panic!("{status} was accepted");
            };
            assert!(invalid.fields[0].message.contains("in_progress, blocked or done"), "{invalid}");
        }
        assert_eq!(refused(&ContentFields { status: None, ..done(&["a"]) }), ["status"]);
    }

    #[test]
    fn every_bad_field_is_named_and_limits_are_inclusive() {
        let long = "x".repeat(2_001);
        let mut fields = done(&["", &long]);
        fields.lists.blocked = vec!["b".to_owned(); 201];
        fields.summary = Some("s".repeat(5_001));
        fields.thread = Some("two\nlines".into());
        assert_eq!(refused(&fields), ["accomplished[0]", "accomplished[1]", "blocked", "summary", "thread"]);
        let exact = "ü".repeat(2_000);
        let mut fields = done(&[&exact]);
        fields.lists.blocked = vec!["b".to_owned(); 200];
        fields.summary = Some("ü".repeat(5_000));
        assert!(fields.validate().is_ok());
    }

    /// H-03: the limit counts bytes of the canonical text and is inclusive.
    #[test]
    fn h_03_a_payload_of_the_limit_is_accepted_and_a_byte_more_is_not() {
        let of = |size: usize| {
            let frame = payload(&list_of("a"), json!({"t": ""}).as_object()).unwrap().size();
            let text = format!("{}{}", "ü".repeat(100), "x".repeat(size - frame - 200));
            ContentFields { extra: json!({ "t": text }).as_object().cloned(), ..done(&["a"]) }
        };
        assert_eq!(of(819_200).validate().unwrap().payload.size(), 819_200);
        assert_eq!(of(819_201).validate(), Err(ContentError::TooLarge { size: 819_201, limit: 819_200 }));
    }

    fn list_of(item: &str) -> Lists {
        Lists { accomplished: list(&[item]), ..Lists::default() }
    }

    #[test]
    fn extra_with_an_unprintable_number_is_refused() {
        let fields = ContentFields { extra: json!({"n": u64::MAX}).as_object().cloned(), ..done(&["a"]) };
        assert_eq!(refused(&fields), ["extra"]);
    }

    #[test]
    fn a_derived_summary_names_status_work_and_next_step() {
        let lists = Lists {
            in_progress: list(&["Wire the parser"]),
            next_steps: list(&["Run `cargo test`."]),
            ..Lists::default()
        };
        assert_eq!(
            derived_summary(HandoffStatus::InProgress, &lists),
            "in_progress: Wire the parser. Next: Run `cargo test`."
        );
        assert_eq!(derived_summary(HandoffStatus::Done, &list_of("Shipped")), "done: Shipped.");
        let long = list_of(&"ü".repeat(2_000));
        assert_eq!(derived_summary(HandoffStatus::Done, &long).chars().count(), 500);
    }

    #[test]
    fn the_first_thread_key_that_applies_wins() {
        let mut source = ThreadSource {
            given: Some("release"),
            repo: "org/x",
            issue: Some(87),
            branch: Some("dev/m/fix"),
            default_branch: Some("trunk"),
            session_id: "sess_1",
        };
        assert_eq!(thread_key(source), "release");
        source.given = None;
        assert_eq!(thread_key(source), "issue:org/x#87");
        source.issue = None;
        assert_eq!(thread_key(source), "branch:org/x:dev/m/fix");
        source.branch = Some("trunk");
        assert_eq!(thread_key(source), "session:sess_1");
        source.branch = Some("main");
        assert_eq!(thread_key(source), "branch:org/x:main");
        source.default_branch = None;
        assert_eq!(thread_key(source), "session:sess_1");
    }

    #[test]
    fn h_25_a_handoff_is_for_an_agent_by_id_machine_or_cli() {
        let machine = super::super::identity::machine_part("server1.lan");
        let me = Addressee { agent: "claude-server1-k3v9x2aa", machine: &machine, cli: Some("claude") };
        for to in ["claude-server1-k3v9x2aa", &machine, "server1.lan", "claude", "Claude"] {
            assert!(is_for(Some(to), me), "{to}");
        }
        assert!(!is_for(Some("mac1"), me) && !is_for(Some("codex"), me) && !is_for(None, me));
    }

    proptest! {
        #[test]
        fn h_04_the_payload_does_not_depend_on_the_order_of_extra(keys in proptest::collection::btree_set("[a-z]{1,3}", 0..6)) {
            let forward: Map<String, Value> = keys.iter().map(|key| (key.clone(), json!(1))).collect();
            let backward: Map<String, Value> = keys.iter().rev().map(|key| (key.clone(), json!(1))).collect();
            prop_assert_eq!(payload(&list_of("a"), Some(&forward)), payload(&list_of("a"), Some(&backward)));
        }
    }
}
