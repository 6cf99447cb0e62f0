//! The weekly plan: its form, its age and display, and the file `WEEKLY_PLAN.md` that it is exported to and read from.
//!
//! The age is that of the record. A file's own time says nothing: a fresh clone makes an old plan look new.

use std::fmt::Write as _;

use super::limits::{PLAN_ISSUES, PLAN_STALE_MS, PLAN_TEXT_CHARS, TITLE_CHARS};
use super::text::{near, require_chars, require_line};
use crate::record::PlanState;
use crate::{Invalid, Timestamp};

/// The path of the exported plan inside a repo.
pub const PATH: &str = "docs/planning/WEEKLY_PLAN.md";

/// How the plan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanFreshness {
    /// Written or confirmed less than seven days ago.
    Valid,
    /// Seven days old or older.
    Stale,
    /// There is none.
    Missing,
}

/// Returns how the plan stands.
#[must_use]
pub fn freshness(plan: Option<&PlanState>, now: Timestamp) -> PlanFreshness {
    match plan {
        None => PlanFreshness::Missing,
        Some(plan) if now.since(plan.updated_at) >= PLAN_STALE_MS => PlanFreshness::Stale,
        Some(_) => PlanFreshness::Valid,
    }
}

/// Returns the line of the start output: `✓ Valid (2 days old) - Priority: alpha`.
#[must_use]
pub fn display(plan: Option<&PlanState>, now: Timestamp) -> String {
    let Some(state) = plan else { return "! Missing".to_owned() };
    let mark = if freshness(plan, now) == PlanFreshness::Stale { "! Stale" } else { "✓ Valid" };
    let age = state.updated_at.age(now);
    let age = if age.starts_with("just now") { age } else { format!("{age} old") };
    format!("{mark} ({age}) - Priority: {}", state.priority_venture)
}

/// The content of a plan, apart from who wrote it and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanFields {
    /// A known venture code.
    pub priority_venture: String,
    /// What comes second.
    pub secondary_focus: Option<String>,
    /// Issues to reach.
    pub target_issues: Vec<String>,
    /// How much time there is.
    pub capacity_notes: Option<String>,
}

impl PlanFields {
    /// Checks all fields at once against the known venture codes.
    ///
    /// # Errors
    /// Every bad field.
    pub fn validate(&self, known: &[&str]) -> Result<(), Invalid> {
        let mut invalid = Invalid::new();
        if !known.contains(&self.priority_venture.as_str()) {
            let near = near(&self.priority_venture, known);
            let hint = near.first().map(|code| format!("; did you mean {code}?")).unwrap_or_default();
            invalid.add("priority_venture", format!("must be a known venture: {}{hint}", known.join(", ")));
        }
        if let Some(focus) = &self.secondary_focus {
            require_chars(&mut invalid, "secondary_focus", focus, PLAN_TEXT_CHARS);
        }
        if let Some(notes) = &self.capacity_notes {
            require_chars(&mut invalid, "capacity_notes", notes, PLAN_TEXT_CHARS);
        }
        let count = self.target_issues.len();
        invalid.require(count <= PLAN_ISSUES, "target_issues", format!("has {count} issues; at most {PLAN_ISSUES}"));
        for (index, issue) in self.target_issues.iter().enumerate().take(PLAN_ISSUES) {
            require_line(&mut invalid, &format!("target_issues[{index}]"), issue, TITLE_CHARS);
        }
        invalid.finish()
    }
}

/// Renders the plan's file.
#[must_use]
pub fn export(plan: &PlanState) -> String {
    let mut out = format!("# Weekly Plan\n\nUpdated: {}\n", plan.updated_at.iso());
    let text = |text: &Option<String>| text.as_deref().map_or("none".to_owned(), |text| text.trim().to_owned());
    let issues = match plan.target_issues.as_slice() {
        [] => "- none".to_owned(),
        issues => issues.iter().map(|issue| format!("- {}", issue.trim())).collect::<Vec<_>>().join("\n"),
    };
    let sections = [
        (Section::Priority, plan.priority_venture.clone()),
        (Section::Secondary, text(&plan.secondary_focus)),
        (Section::Issues, issues),
        (Section::Capacity, text(&plan.capacity_notes)),
    ];
    for (section, body) in sections {
        // Writing to a String cannot fail. A line of the text that reads as a heading is indented.
        let _ = write!(out, "\n## {}\n\n{}\n", section.heading(), body.replace("\n#", "\n #"));
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Priority,
    Secondary,
    Issues,
    Capacity,
}

impl Section {
    const ALL: [Self; 4] = [Self::Priority, Self::Secondary, Self::Issues, Self::Capacity];

    fn heading(self) -> &'static str {
        match self {
            Self::Priority => "Priority Venture",
            Self::Secondary => "Secondary Focus",
            Self::Issues => "Target Issues",
            Self::Capacity => "Capacity Notes",
        }
    }
}

/// Reads a plan's file: its content and the time of its `Updated:` line, when it has one.
///
/// List lines that say only "none" are dropped; unknown headings and their text are passed over.
#[must_use]
pub fn import(text: &str) -> (PlanFields, Option<Timestamp>) {
    let mut bodies: [Vec<&str>; 4] = Default::default();
    let mut section = None;
    let mut updated = None;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            let heading = heading.trim_start_matches('#').trim();
            section = Section::ALL.into_iter().find(|section| section.heading().eq_ignore_ascii_case(heading));
        } else if let Some(time) = line.strip_prefix("Updated:").filter(|_| section.is_none()) {
            updated = Timestamp::parse_iso(time.trim()).or(updated);
        } else if let Some(section) = section {
            bodies[section as usize].push(line);
        }
    }
    let [priority, secondary, issues, capacity] = &bodies;
    let fields = PlanFields {
        priority_venture: paragraph(priority).unwrap_or_default(),
        secondary_focus: paragraph(secondary),
        target_issues: issues.iter().filter_map(|line| list_item(line)).collect(),
        capacity_notes: paragraph(capacity),
    };
    (fields, updated)
}

/// Returns the text of a section without its outer blank lines, or `None` for an empty one and for "none".
fn paragraph(lines: &[&str]) -> Option<String> {
    let text = lines.join("\n").replace("\n #", "\n#");
    let text = text.trim();
    (!text.is_empty() && !is_none(text)).then(|| text.to_owned())
}

fn list_item(line: &str) -> Option<String> {
    let item = line.trim();
    let item = item.strip_prefix("- ").or_else(|| item.strip_prefix("* ")).unwrap_or(item).trim();
    (!item.is_empty() && !matches!(item, "-" | "*") && !is_none(item)).then(|| item.to_owned())
}

fn is_none(text: &str) -> bool {
    let text = text.trim_start_matches(['-', '*', ' ']);
    text.eq_ignore_ascii_case("none")
}

/// Whether an import may replace the record: not when the file is older, unless the caller forces it.
#[must_use]
pub fn is_older(record: Option<&PlanState>, file: Timestamp) -> bool {
    record.is_some_and(|record| file < record.updated_at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::limits::{DAY_MS, HOUR_MS};

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn plan(age_ms: i64) -> PlanState {
        PlanState { priority_venture: "alpha".into(), updated_at: NOW.plus(-age_ms), ..PlanState::default() }
    }

    #[test]
    fn p_01_a_plan_is_stale_at_seven_days_by_its_own_time() {
        assert_eq!(freshness(Some(&plan(6 * DAY_MS + 23 * HOUR_MS)), NOW), PlanFreshness::Valid);
        assert_eq!(freshness(Some(&plan(7 * DAY_MS - 1)), NOW), PlanFreshness::Valid);
        assert_eq!(freshness(Some(&plan(7 * DAY_MS)), NOW), PlanFreshness::Stale);
        assert_eq!(freshness(None, NOW), PlanFreshness::Missing);
    }

    #[test]
    fn p_04_the_display_names_state_age_and_priority() {
        assert_eq!(display(Some(&plan(2 * DAY_MS)), NOW), "✓ Valid (2 days old) - Priority: alpha");
        assert_eq!(display(Some(&plan(9 * DAY_MS)), NOW), "! Stale (9 days old) - Priority: alpha");
        assert_eq!(display(Some(&plan(0)), NOW), "✓ Valid (just now) - Priority: alpha");
        assert_eq!(display(None, NOW), "! Missing");
    }

    #[test]
    fn p_04_an_unknown_priority_is_refused_with_its_neighbour() {
        let fields =
            PlanFields { priority_venture: "alpa".into(), target_issues: vec![String::new()], ..PlanFields::default() };
        let invalid = fields.validate(&["alpha", "beta"]).unwrap_err();
        assert!(invalid.fields[0].message.ends_with("alpha, beta; did you mean alpha?"), "{invalid}");
        assert_eq!(invalid.fields[1].field, "target_issues[0]");
    }

    #[test]
    fn p_02_a_file_by_hand_is_read_and_an_older_one_is_told() {
        let text = "# WEEKLY PLAN\nUpdated: 2023-11-14T22:13:20Z\n\n### priority venture\n\nalpha\n## Secondary Focus\nNone\n\
                    ## Target Issues\n* 12\n- none\n15\n\n## Later\nignored\n## Capacity Notes\ntwo days\nonly\n";
        let (fields, updated) = import(text);
        let expected = PlanFields {
            priority_venture: "alpha".into(),
            secondary_focus: None,
            target_issues: vec!["12".into(), "15".into()],
            capacity_notes: Some("two days\nonly".into()),
        };
        assert_eq!((fields, updated), (expected, Some(NOW)));
        assert_eq!(import("## Priority Venture\nalpha\n").1, None);
        assert!(is_older(Some(&plan(0)), NOW.plus(-1)));
        assert!(!is_older(Some(&plan(0)), NOW) && !is_older(None, NOW));
    }

    fn line() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9#:*-][a-zA-Z0-9 #:*ü-]{0,12}[a-z0-9ü]"
            .prop_filter("is not the word for nothing", |text| !is_none(text))
    }

    proptest! {
        #[test]
        fn p_02_export_and_import_give_an_equal_plan(
            secondary in proptest::option::of(line()),
            issues in proptest::collection::vec("[#0-9][a-z0-9 ]{0,8}[a-z0-9]", 0..4),
            capacity in proptest::option::of(proptest::collection::vec(line(), 1..3)),
            age in 0_i64..1_000_000,
        ) {
            let fields = PlanFields {
                priority_venture: "alpha".into(),
                // A heading as the first line of a text cannot be told from a heading of the file.
                secondary_focus: secondary.filter(|text| !text.starts_with('#')),
                target_issues: issues,
                capacity_notes: capacity.map(|lines| lines.join("\n")).filter(|text| !text.starts_with('#')),
            };
            let state = PlanState {
                secondary_focus: fields.secondary_focus.clone(),
                target_issues: fields.target_issues.clone(),
                capacity_notes: fields.capacity_notes.clone(),
                ..plan(age)
            };
            prop_assert_eq!(import(&export(&state)), (fields, Some(state.updated_at)));
        }
    }
}
