//! Doc requirements: their form, their key, and which of them a venture is asked.

use super::doc::doc_type;
use super::limits::{
    DOC_NAME_CHARS, GENERATION_SOURCES, PLAN_TEXT_CHARS, SOURCE_CHARS, STALENESS_DAYS, STALENESS_DAYS_MAX,
};
use super::text::{require_chars, require_line};
use super::venture::{check_capability, is_code};
use crate::record::{Requirement, ScopeType, Venture};
use crate::{DocumentId, Ids, Invalid};

/// Where a name pattern holds the venture's code.
const VENTURE: &str = "{venture}";

/// Notes every bad field of a requirement.
///
/// # Errors
/// Every bad field.
pub fn validate(requirement: &Requirement) -> Result<(), Invalid> {
    let mut invalid = Invalid::new();
    // Whatever the code is, the name must be valid with it; the longest code decides about the length.
    let longest = requirement.name_pattern.replace(VENTURE, &"v".repeat(20));
    let good = doc_type(&longest).is_some() && requirement.name_pattern.len() <= DOC_NAME_CHARS;
    invalid.require(good, "name_pattern", "must be a doc name that may hold {venture}");
    check_scope(&mut invalid, requirement);
    let days = 1..=STALENESS_DAYS_MAX;
    invalid.require(
        days.contains(&requirement.staleness_days),
        "staleness_days",
        format!("must be 1 to {STALENESS_DAYS_MAX}"),
    );
    if let Some(condition) = &requirement.condition {
        check_capability(&mut invalid, "condition", condition);
    }
    let sources = &requirement.generation_sources;
    invalid.require(sources.len() <= GENERATION_SOURCES, "generation_sources", format!("at most {GENERATION_SOURCES}"));
    for (index, source) in sources.iter().enumerate().take(GENERATION_SOURCES) {
        let field = format!("generation_sources[{index}]");
        require_line(&mut invalid, &field, source, SOURCE_CHARS);
        let inside = !source.starts_with('/') && !source.split('/').any(|part| part == "..");
        invalid.require(inside, &field, "must be a path inside the repo");
    }
    if let Some(description) = &requirement.description {
        require_chars(&mut invalid, "description", description, PLAN_TEXT_CHARS);
    }
    invalid.finish()
}

fn check_scope(invalid: &mut Invalid, requirement: &Requirement) {
    let global_with_venture = requirement.scope_type == ScopeType::Global && requirement.name_pattern.contains(VENTURE);
    invalid.require(!global_with_venture, "name_pattern", "a global doc has no {venture} in its name");
    match (requirement.scope_type, requirement.scope_venture.as_deref()) {
        (ScopeType::Venture, None) => invalid.add("scope_venture", "is required for scope type venture"),
        (ScopeType::Venture, Some(code)) => invalid.require(is_code(code), "scope_venture", "must be a venture code"),
        (ScopeType::Global | ScopeType::AllVentures, Some(_)) => {
            invalid.add("scope_venture", "is allowed for scope type venture only");
        }
        (ScopeType::Global | ScopeType::AllVentures, None) => {}
    }
}

/// Returns the id of a requirement: one record for each (pattern, scope type, venture).
#[must_use]
pub fn id(ids: &Ids, requirement: &Requirement) -> DocumentId {
    let venture = requirement.scope_venture.as_deref().filter(|code| !code.is_empty());
    ids.requirement(&requirement.name_pattern, scope_name(requirement.scope_type), venture)
}

/// Returns the name of a scope type.
#[must_use]
pub fn scope_name(scope: ScopeType) -> &'static str {
    match scope {
        ScopeType::Global => "global",
        ScopeType::AllVentures => "all_ventures",
        ScopeType::Venture => "venture",
    }
}

/// Whether a venture is asked a requirement: by scope, and only with the capability that it names.
#[must_use]
pub fn applies(requirement: &Requirement, venture: &Venture) -> bool {
    let in_scope = match requirement.scope_type {
        ScopeType::Global | ScopeType::AllVentures => true,
        ScopeType::Venture => requirement.scope_venture.as_deref() == Some(venture.code.as_str()),
    };
    in_scope && requirement.condition.as_ref().is_none_or(|condition| venture.capabilities.contains(condition))
}

/// Returns the name of the doc that a venture must have.
#[must_use]
pub fn doc_name(requirement: &Requirement, venture: &str) -> String {
    requirement.name_pattern.replace(VENTURE, venture)
}

/// Returns the requirements that a new fleet begins with. Seeding never overwrites.
#[must_use]
pub fn seeds() -> [Requirement; 3] {
    let seed = |name: &str, condition: Option<&str>, description: &str| Requirement {
        name_pattern: format!("{VENTURE}-{name}.md"),
        scope_type: ScopeType::AllVentures,
        required: true,
        condition: condition.map(str::to_owned),
        staleness_days: STALENESS_DAYS,
        auto_generate: true,
        description: Some(description.to_owned()),
        ..Requirement::default()
    };
    [
        seed("project-instructions", None, "What an agent must know before it works on the project."),
        seed("api", Some("has_api"), "The project's endpoints."),
        seed("schema", Some("has_database"), "The project's tables and migrations."),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::id::FleetId;

    fn named(requirement: &Requirement) -> DocumentId {
        id(&Ids::new(FleetId([1; 16]), Ids::NEWEST), requirement)
    }

    fn names(requirement: &Requirement) -> Vec<String> {
        let invalid = validate(requirement).expect_err("should have been refused");
        invalid.fields.into_iter().map(|field| field.field).collect()
    }

    #[test]
    fn the_seeds_are_valid_and_different() {
        let seeds = seeds();
        assert!(seeds.iter().all(|seed| validate(seed).is_ok()));
        assert_eq!(seeds.iter().map(named).collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(doc_name(&seeds[1], "alpha"), "alpha-api.md");
    }

    #[test]
    fn every_bad_field_is_named() {
        let [seed, ..] = seeds();
        let bad = Requirement {
            name_pattern: "x/{venture}.md".into(),
            scope_venture: Some("alpha".into()),
            staleness_days: 0,
            condition: Some("Has Api".into()),
            generation_sources: vec!["src/**".into(), "../x".into(), "/etc".into()],
            ..seed.clone()
        };
        let expected = [
            "name_pattern",
            "scope_venture",
            "staleness_days",
            "condition",
            "generation_sources[1]",
            "generation_sources[2]",
        ];
        assert_eq!(names(&bad), expected);
        let venture = Requirement { scope_type: ScopeType::Venture, ..seed.clone() };
        assert_eq!(names(&venture), ["scope_venture"]);
        assert_eq!(names(&Requirement { scope_type: ScopeType::Global, ..seed }), ["name_pattern"]);
    }

    #[test]
    fn d_09_one_key_is_one_record_with_and_without_a_venture() {
        let [seed, ..] = seeds();
        let for_alpha =
            Requirement { scope_type: ScopeType::Venture, scope_venture: Some("alpha".into()), ..seed.clone() };
        assert_eq!(named(&seed), named(&Requirement { staleness_days: 5, required: false, ..seed.clone() }));
        assert_eq!(named(&for_alpha), named(&Requirement { description: None, ..for_alpha.clone() }));
        assert_ne!(named(&seed), named(&for_alpha));
    }

    #[test]
    fn d_04_a_venture_without_the_capability_is_not_asked() {
        let [always, api, _] = seeds();
        let plain = Venture { code: "alpha".into(), ..Venture::default() };
        let capable = Venture { capabilities: BTreeSet::from(["has_api".to_owned()]), ..plain.clone() };
        assert!(applies(&always, &plain) && !applies(&api, &plain) && applies(&api, &capable));
        let for_beta = Requirement { scope_type: ScopeType::Venture, scope_venture: Some("beta".into()), ..always };
        assert!(!applies(&for_beta, &plain));
    }
}
