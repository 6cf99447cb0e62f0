//! The doc audit: which docs a venture must have, and which of them are missing, stale or outdated.

use super::doc::GLOBAL;
use super::limits::DAY_MS;
use super::requirement::{applies, doc_name};
use crate::Timestamp;
use crate::record::{DocOrigin, Requirement, ScopeType, Venture};

/// A living doc as the audit sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedDoc {
    /// `global` or a venture code.
    pub scope: String,
    /// Its name.
    pub name: String,
    /// Who made it.
    pub origin: DocOrigin,
    /// When its content was last confirmed.
    pub refreshed_at: Timestamp,
    /// Whether a source of a generated doc changed since; false where the sources cannot be seen.
    pub sources_changed: bool,
}

/// How a doc stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DocState {
    /// There is no living doc of that name.
    Missing,
    /// Its last confirmation is older than the limit.
    Stale,
    /// It is generated, and a source changed since.
    Outdated,
    /// It is there and fresh.
    Present,
}

/// The verdict about a venture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditStatus {
    /// A required doc is missing.
    Incomplete,
    /// None is missing, and one is stale.
    Warning,
    /// The rest; a recommended doc may be missing.
    Complete,
}

/// One doc of an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow<'a> {
    /// The doc's name.
    pub name: String,
    /// The scope of the doc, or of the one that is to be made.
    pub scope: String,
    /// How it stands.
    pub state: DocState,
    /// Whole days since the last confirmation; absent for a missing doc.
    pub age_days: Option<i64>,
    /// Who made the doc that is there.
    pub origin: Option<DocOrigin>,
    /// The requirement.
    pub requirement: &'a Requirement,
}

impl AuditRow<'_> {
    /// Whether self-heal may produce it: it is due, may be generated, and nobody uploaded it.
    #[must_use]
    pub fn healable(&self) -> bool {
        self.state != DocState::Present && self.requirement.auto_generate && self.origin != Some(DocOrigin::Uploaded)
    }
}

/// The audit of a venture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit<'a> {
    /// The verdict.
    pub status: AuditStatus,
    /// One row for each doc that the venture is asked for, in the order of their names.
    pub rows: Vec<AuditRow<'a>>,
}

/// Audits a venture over the living docs of its scope and of the global one.
#[must_use]
pub fn audit<'a>(
    venture: &Venture,
    requirements: impl IntoIterator<Item = &'a Requirement>,
    docs: &[AuditedDoc],
    now: Timestamp,
) -> Audit<'a> {
    let asked = requirements.into_iter().filter(|requirement| applies(requirement, venture));
    let mut rows: Vec<AuditRow<'a>> = asked.map(|requirement| row(venture, requirement, docs, now)).collect();
    rows.sort_by(|a, b| (&a.name, &a.scope).cmp(&(&b.name, &b.scope)));
    let required_missing = |row: &AuditRow<'_>| row.state == DocState::Missing && row.requirement.required;
    let status = if rows.iter().any(required_missing) {
        AuditStatus::Incomplete
    } else if rows.iter().any(|row| row.state == DocState::Stale) {
        AuditStatus::Warning
    } else {
        AuditStatus::Complete
    };
    Audit { status, rows }
}

fn row<'a>(venture: &Venture, requirement: &'a Requirement, docs: &[AuditedDoc], now: Timestamp) -> AuditRow<'a> {
    let name = doc_name(requirement, &venture.code);
    let of_scope = |scope: &str| docs.iter().find(|doc| doc.scope == scope && doc.name == name);
    let Some(doc) = of_scope(&venture.code).or_else(|| of_scope(GLOBAL)) else {
        let scope = if requirement.scope_type == ScopeType::Global { GLOBAL } else { venture.code.as_str() };
        let scope = scope.to_owned();
        return AuditRow { name, scope, state: DocState::Missing, age_days: None, origin: None, requirement };
    };
    let age_days = now.since(doc.refreshed_at).max(0) / DAY_MS;
    let state = if age_days > i64::from(requirement.staleness_days) {
        DocState::Stale
    } else if doc.sources_changed && doc.origin == DocOrigin::Generated {
        DocState::Outdated
    } else {
        DocState::Present
    };
    let (age_days, origin) = (Some(age_days), Some(doc.origin));
    AuditRow { name, scope: doc.scope.clone(), state, age_days, origin, requirement }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rules::limits::HOUR_MS;
    use crate::rules::requirement::seeds;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn venture(capabilities: &[&str]) -> Venture {
        let capabilities: BTreeSet<String> = capabilities.iter().map(|name| (*name).to_owned()).collect();
        Venture { code: "alpha".into(), capabilities, ..Venture::default() }
    }

    fn doc(name: &str, age_ms: i64) -> AuditedDoc {
        AuditedDoc {
            scope: "alpha".into(),
            name: name.into(),
            origin: DocOrigin::Generated,
            refreshed_at: NOW.plus(-age_ms),
            sources_changed: false,
        }
    }

    const MAIN: &str = "alpha-project-instructions.md";

    fn state(doc: AuditedDoc) -> (AuditStatus, DocState) {
        let seeds = seeds();
        let audit = audit(&venture(&[]), &seeds, &[doc], NOW);
        (audit.status, audit.rows[0].state)
    }

    #[test]
    fn d_04_a_capability_brings_its_doc_into_the_audit() {
        let seeds = seeds();
        let docs = [doc(MAIN, 0)];
        let without = audit(&venture(&["unheard_of"]), &seeds, &docs, NOW);
        assert_eq!((without.status, without.rows.len()), (AuditStatus::Complete, 1));
        let with = audit(&venture(&["has_api"]), &seeds, &docs, NOW);
        assert_eq!((with.status, with.rows[0].state), (AuditStatus::Incomplete, DocState::Missing));
        assert_eq!((with.rows[0].name.as_str(), with.rows[0].scope.as_str()), ("alpha-api.md", "alpha"));
    }

    #[test]
    fn d_05_ninety_days_and_twenty_three_hours_are_present_and_ninety_one_days_are_stale() {
        assert_eq!(state(doc(MAIN, 90 * DAY_MS + 23 * HOUR_MS)), (AuditStatus::Complete, DocState::Present));
        assert_eq!(state(doc(MAIN, 91 * DAY_MS)), (AuditStatus::Warning, DocState::Stale));
        assert_eq!(state(doc(MAIN, -DAY_MS)), (AuditStatus::Complete, DocState::Present));
    }

    #[test]
    fn d_06_missing_weighs_more_than_stale_and_recommended_docs_weigh_nothing() {
        let [main, api, _] = seeds();
        let both = [main, api];
        let capable = venture(&["has_api"]);
        let stale = [doc(MAIN, 200 * DAY_MS)];
        assert_eq!(audit(&capable, &both, &stale, NOW).status, AuditStatus::Incomplete);
        let recommended = [both[0].clone(), Requirement { required: false, ..both[1].clone() }];
        assert_eq!(audit(&capable, &recommended, &stale, NOW).status, AuditStatus::Warning);
        let complete = audit(&capable, &recommended, &[doc(MAIN, 0)], NOW);
        assert_eq!(complete.status, AuditStatus::Complete);
        assert_eq!(complete.rows[0].state, DocState::Missing);
    }

    #[test]
    fn a_global_doc_satisfies_a_venture_and_its_own_doc_comes_first() {
        let global = AuditedDoc { scope: GLOBAL.into(), ..doc(MAIN, 0) };
        assert_eq!(state(global.clone()).1, DocState::Present);
        let seeds = seeds();
        let audit = audit(&venture(&[]), &seeds, &[global, doc(MAIN, 91 * DAY_MS)], NOW);
        assert_eq!((audit.rows[0].scope.as_str(), audit.rows[0].state), ("alpha", DocState::Stale));
    }

    #[test]
    fn d_08_changed_sources_make_a_generated_doc_outdated_and_uploads_are_never_healed() {
        let changed = AuditedDoc { sources_changed: true, ..doc(MAIN, 0) };
        assert_eq!(state(changed.clone()), (AuditStatus::Complete, DocState::Outdated));
        let uploaded = AuditedDoc { origin: DocOrigin::Uploaded, ..doc(MAIN, 91 * DAY_MS) };
        let [main, ..] = seeds();
        let healable = |requirement: &Requirement, docs: &[AuditedDoc]| {
            audit(&venture(&[]), [requirement], docs, NOW).rows[0].healable()
        };
        assert!(healable(&main, &[changed]) && healable(&main, &[]));
        assert!(!healable(&main, &[uploaded]) && !healable(&main, &[doc(MAIN, 0)]));
        assert!(!healable(&Requirement { auto_generate: false, ..main }, &[]));
    }
}
