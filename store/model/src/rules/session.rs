//! The fields of a session: what a start may ask for, what an update changes, and how meta merges.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::canonical::Canonical;
use super::change::Change;
use super::identity::check_agent;
use super::limits::{BRANCH_CHARS, LINE_CHARS, META_BYTES, META_KEY_CHARS, TRACK_MAX};
use super::repo::check_repo;
use super::text::{chars, is_commit, require_line};
use crate::record::Session;
use crate::{Edit, Invalid, Scalar, Timestamp};

/// The fields of a start as the caller gave them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StartFields {
    /// Required.
    pub agent: Option<String>,
    /// Required; whether it is known is asked after the form is right.
    pub venture: Option<String>,
    /// Required.
    pub repo: Option<String>,
    /// 0 to 9999.
    pub track: Option<i64>,
    /// Positive.
    pub issue: Option<i64>,
    /// Empty or a detached head mean none.
    pub branch: Option<String>,
    /// 7 to 64 hex digits.
    pub commit_sha: Option<String>,
    /// Null values are dropped.
    pub meta: Map<String, Value>,
}

/// The fields of a start after validation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Start {
    /// The agent id.
    pub agent: String,
    /// The venture code.
    pub venture: String,
    /// The repo.
    pub repo: String,
    /// The track; 0 is a value.
    pub track: Option<u32>,
    /// The issue.
    pub issue: Option<u32>,
    /// The branch.
    pub branch: Option<String>,
    /// The commit.
    pub commit_sha: Option<String>,
    /// Free values.
    pub meta: Map<String, Value>,
}

impl StartFields {
    /// Checks all fields at once.
    ///
    /// # Errors
    /// Every bad field.
    pub fn validate(self) -> Result<Start, Invalid> {
        let mut invalid = Invalid::new();
        let agent = required(&mut invalid, "agent", self.agent);
        let venture = required(&mut invalid, "venture", self.venture);
        let repo = required(&mut invalid, "repo", self.repo);
        if !agent.is_empty() {
            check_agent(&mut invalid, "agent", &agent);
        }
        if !repo.is_empty() {
            check_repo(&mut invalid, "repo", &repo);
        }
        let track = self.track.and_then(|track| check_track(&mut invalid, "track", track));
        let issue = self.issue.and_then(|issue| check_issue(&mut invalid, "issue", issue));
        let branch = self.branch.and_then(|branch| check_branch(&mut invalid, "branch", branch));
        check_commit(&mut invalid, self.commit_sha.as_deref());
        let meta = merge_meta(&BTreeMap::new(), &self.meta);
        check_meta(&mut invalid, &meta);
        invalid.finish()?;
        Ok(Start {
            agent,
            venture,
            repo,
            track,
            issue,
            branch,
            commit_sha: self.commit_sha,
            meta: meta.into_iter().collect(),
        })
    }
}

/// The fields of an update. `branch` and `commit_sha` have no null form: an empty branch clears it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateFields {
    /// Empty clears.
    pub branch: Option<String>,
    /// The commit.
    pub commit_sha: Option<String>,
    /// The issue.
    pub issue: Change<i64>,
    /// The track.
    pub track: Change<i64>,
    /// Merged at the top level; null removes a key.
    pub meta: Map<String, Value>,
    /// What the session waits for.
    pub blocked_on: Change<String>,
}

impl UpdateFields {
    /// Checks all fields at once and returns the edits that they make to `session`; none for an empty update.
    ///
    /// # Errors
    /// Every bad field.
    pub fn edits(self, session: &Session, now: Timestamp) -> Result<Vec<Edit>, Invalid> {
        let mut invalid = Invalid::new();
        let mut edits = Vec::new();
        if let Some(branch) = self.branch {
            edits.push(Edit::set_or_unset("branch", check_branch(&mut invalid, "branch", branch)));
        }
        check_commit(&mut invalid, self.commit_sha.as_deref());
        edits.extend(Edit::set_some("commit_sha", self.commit_sha));
        edits.extend(number_edit(&mut invalid, "issue", self.issue, check_issue));
        edits.extend(number_edit(&mut invalid, "track", self.track, check_track));
        if let Some(reason) = self.blocked_on.value() {
            require_line(&mut invalid, "blocked_on", reason, LINE_CHARS);
        }
        edits.extend(blocked_edits(self.blocked_on, session, now));
        check_meta(&mut invalid, &merge_meta(&session.meta, &self.meta));
        edits.extend(meta_edits(self.meta));
        invalid.finish()?;
        Ok(edits)
    }
}

/// Returns meta after a merge at the top level: a null value removes its key.
#[must_use]
pub fn merge_meta(current: &BTreeMap<String, Value>, changes: &Map<String, Value>) -> BTreeMap<String, Value> {
    let mut merged = current.clone();
    for (key, value) in changes {
        if value.is_null() {
            merged.remove(key);
        } else {
            merged.insert(key.clone(), value.clone());
        }
    }
    merged
}

/// Returns the edits that merge `changes` into the field `meta` of a record.
#[must_use]
pub fn meta_edits(changes: Map<String, Value>) -> Vec<Edit> {
    let edit = |(key, value): (String, Value)| match value {
        Value::Null => Edit::remove("meta", key),
        value => Edit::entry("meta", key, Scalar::json(&value)),
    };
    changes.into_iter().map(edit).collect()
}

/// Notes meta that is too large, or has a bad key.
pub fn check_meta(invalid: &mut Invalid, meta: &BTreeMap<String, Value>) {
    for key in meta.keys().filter(|key| key.is_empty() || chars(key) > META_KEY_CHARS || key.contains('\0')) {
        let shown = super::text::ellipsis(key, META_KEY_CHARS);
        invalid.add(format!("meta.{shown}"), format!("a key has 1 to {META_KEY_CHARS} characters"));
    }
    match Canonical::of(&Value::Object(meta.clone().into_iter().collect())) {
        Ok(canonical) if canonical.size() > META_BYTES => {
            invalid.add(
                "meta",
                format!("has {} bytes of canonical JSON; at most {META_BYTES} are allowed", canonical.size()),
            );
        }
        Ok(_) => {}
        Err(error) => invalid.add("meta", error.to_string()),
    }
}

/// Returns the branch to store: none for an empty one and for a detached head.
pub fn check_branch(invalid: &mut Invalid, field: &str, branch: String) -> Option<String> {
    // "(detached at abc1234)" is how such a head is shown; git calls it HEAD.
    if branch.trim().is_empty() || branch.starts_with("(detached") || branch == "HEAD" {
        return None;
    }
    require_line(invalid, field, &branch, BRANCH_CHARS);
    Some(branch)
}

/// Returns a valid track, or notes that it is none.
pub fn check_track(invalid: &mut Invalid, field: &str, track: i64) -> Option<u32> {
    let valid = u32::try_from(track).ok().filter(|track| *track <= TRACK_MAX);
    invalid.require(valid.is_some(), field, format!("must be an integer from 0 to {TRACK_MAX}"));
    valid
}

/// Returns a valid issue number, or notes that it is none.
pub fn check_issue(invalid: &mut Invalid, field: &str, issue: i64) -> Option<u32> {
    let valid = u32::try_from(issue).ok().filter(|issue| *issue > 0);
    invalid.require(valid.is_some(), field, "must be a positive integer");
    valid
}

fn check_commit(invalid: &mut Invalid, commit: Option<&str>) {
    invalid.require(commit.is_none_or(is_commit), "commit_sha", "must be 7 to 64 hex digits");
}

fn required(invalid: &mut Invalid, field: &str, value: Option<String>) -> String {
    let value = value.unwrap_or_default();
    invalid.require(!value.trim().is_empty(), field, "is required");
    if value.trim().is_empty() { String::new() } else { value }
}

fn number_edit(
    invalid: &mut Invalid,
    field: &'static str,
    change: Change<i64>,
    check: fn(&mut Invalid, &str, i64) -> Option<u32>,
) -> Option<Edit> {
    match change {
        Change::Keep => None,
        Change::Clear => Some(Edit::Unset { field }),
        Change::Set(number) => Edit::set_some(field, check(invalid, field, number)),
    }
}

/// The time of a block moves only when its reason does: 30 minutes on one problem is what is measured.
fn blocked_edits(change: Change<String>, session: &Session, now: Timestamp) -> Vec<Edit> {
    match change {
        Change::Keep => Vec::new(),
        Change::Clear => vec![Edit::Unset { field: "blocked_on" }, Edit::Unset { field: "blocked_at" }],
        Change::Set(reason) if session.blocked_on.as_deref() == Some(reason.as_str()) => Vec::new(),
        Change::Set(reason) => vec![Edit::set("blocked_on", reason), Edit::set("blocked_at", now)],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(entries) => entries,
            other => panic!("not an object: {other}"),
        }
    }

    fn good() -> StartFields {
        StartFields {
            agent: Some("claude-mac1-k3v9x2aa".into()),
            venture: Some("alpha".into()),
            repo: Some("example-org/alpha".into()),
            ..StartFields::default()
        }
    }

    fn names(invalid: &Invalid) -> Vec<&str> {
        invalid.fields.iter().map(|field| field.field.as_str()).collect()
    }

    #[test]
    fn s_18_one_error_names_every_bad_field() {
        let fields = StartFields {
            agent: Some(String::new()),
            repo: Some("  ".into()),
            track: Some(10_000),
            ..StartFields::default()
        };
        assert_eq!(names(&fields.validate().unwrap_err()), ["agent", "venture", "repo", "track"]);
        let fields = StartFields {
            agent: Some("a b".into()),
            repo: Some("no-owner".into()),
            track: Some(-1),
            issue: Some(0),
            branch: Some("b".repeat(256)),
            commit_sha: Some("xyz".into()),
            meta: object(json!({"k".repeat(65): 1})),
            ..good()
        };
        let invalid = fields.validate().unwrap_err();
        assert_eq!(names(&invalid)[..6], ["agent", "repo", "track", "issue", "branch", "commit_sha"]);
        assert_eq!(invalid.fields.len(), 7);
    }

    #[test]
    fn s_09_track_zero_is_a_value() {
        assert_eq!(StartFields { track: Some(0), ..good() }.validate().unwrap().track, Some(0));
        assert_eq!(good().validate().unwrap().track, None);
        assert_eq!(StartFields { track: Some(9_999), ..good() }.validate().unwrap().track, Some(9_999));
    }

    #[test]
    fn p_05_a_detached_head_is_stored_as_no_branch() {
        for branch in ["", "HEAD", "(detached at abc1234)"] {
            assert_eq!(StartFields { branch: Some(branch.into()), ..good() }.validate().unwrap().branch, None);
        }
        let branch = "b".repeat(255);
        assert_eq!(StartFields { branch: Some(branch.clone()), ..good() }.validate().unwrap().branch, Some(branch));
    }

    #[test]
    fn s_15_absent_keeps_and_null_or_empty_clears() {
        let session = Session::default();
        let edits = |fields: UpdateFields| fields.edits(&session, Timestamp(9)).unwrap();
        assert_eq!(edits(UpdateFields::default()), []);
        assert_eq!(
            edits(UpdateFields { branch: Some(String::new()), ..Default::default() }),
            [Edit::Unset { field: "branch" }]
        );
        assert_eq!(edits(UpdateFields { issue: Change::Set(91), ..Default::default() }), [Edit::set("issue", 91_u32)]);
        assert_eq!(
            edits(UpdateFields { issue: Change::Clear, ..Default::default() }),
            [Edit::Unset { field: "issue" }]
        );
        assert_eq!(edits(UpdateFields { track: Change::Set(0), ..Default::default() }), [Edit::set("track", 0_u32)]);
    }

    #[test]
    fn an_update_names_every_bad_field() {
        let fields = UpdateFields {
            commit_sha: Some("12".into()),
            issue: Change::Set(0),
            track: Change::Set(10_000),
            blocked_on: Change::Set(String::new()),
            ..Default::default()
        };
        let invalid = fields.edits(&Session::default(), Timestamp(0)).unwrap_err();
        assert_eq!(names(&invalid), ["commit_sha", "issue", "track", "blocked_on"]);
    }

    #[test]
    fn g_11_the_time_of_a_block_moves_only_with_its_reason() {
        let session = Session { blocked_on: Some("review".into()), ..Session::default() };
        let edits = |reason: &str| blocked_edits(Change::Set(reason.into()), &session, Timestamp(9));
        assert_eq!(edits("review"), []);
        assert_eq!(edits("key"), [Edit::set("blocked_on", "key"), Edit::set("blocked_at", Timestamp(9))]);
    }

    #[test]
    fn s_16_meta_merges_at_the_top_and_null_removes() {
        let one = merge_meta(&BTreeMap::new(), &object(json!({"a": 1, "z": null})));
        let two = merge_meta(&one, &object(json!({"b": {"c": null}})));
        assert_eq!(serde_json::to_value(&two).unwrap(), json!({"a": 1, "b": {"c": null}}));
        let three = merge_meta(&two, &object(json!({"a": null})));
        assert_eq!(serde_json::to_value(&three).unwrap(), json!({"b": {"c": null}}));
        assert_eq!(
            meta_edits(object(json!({"a": null, "b": [1]}))),
            [Edit::remove("meta", "a"), Edit::entry("meta", "b", "[1]")]
        );
    }

    #[test]
    fn the_size_of_meta_is_that_of_the_merged_canonical_text_and_inclusive() {
        let of = |bytes: usize| BTreeMap::from([("k".to_owned(), json!("x".repeat(bytes - r#"{"k":""}"#.len())))]);
        let check = |meta: &BTreeMap<String, Value>| {
            let mut invalid = Invalid::new();
            check_meta(&mut invalid, meta);
            invalid.finish()
        };
        assert!(check(&of(META_BYTES)).is_ok());
        assert!(check(&of(META_BYTES + 1)).is_err());
        let session = Session { meta: of(META_BYTES), ..Session::default() };
        let fields = UpdateFields { meta: object(json!({"j": 1})), ..Default::default() };
        assert_eq!(names(&fields.edits(&session, Timestamp(0)).unwrap_err()), ["meta"]);
    }
}
