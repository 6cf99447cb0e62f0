//! Ventures: the form of their fields, and the import of a list of ventures.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::canonical;
use super::limits::{LINE_CHARS, SOURCE_CHARS, TITLE_CHARS, VENTURE_CAPABILITIES, VENTURE_REPOS};
use super::repo::check_repo;
use super::text::require_line;
use crate::Invalid;
use crate::record::{Venture, VentureSecrets, VentureSettings};

/// Codes that mean something else: the global scope, the fleet's own space, and the literal of an absent part.
const RESERVED: [&str; 2] = ["global", "fleet"];

/// Whether a text is a venture code: `[a-z][a-z0-9-]{1,19}` and no reserved word.
#[must_use]
pub fn is_code(text: &str) -> bool {
    let mut bytes = text.bytes();
    (2..=20).contains(&text.len())
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !RESERVED.contains(&text)
}

/// Checks all fields of a venture at once.
///
/// # Errors
/// Every bad field.
pub fn validate(venture: &Venture) -> Result<(), Invalid> {
    let mut invalid = Invalid::new();
    let form = "must be 2 to 20 of a-z, 0-9 and `-`, begin with a letter, and not be `global` or `fleet`";
    invalid.require(is_code(&venture.code), "code", form);
    require_line(&mut invalid, "name", &venture.name, TITLE_CHARS);
    if let Some(org) = &venture.org {
        check_org(&mut invalid, org);
    }
    invalid.require(venture.repos.len() <= VENTURE_REPOS, "repos", format!("at most {VENTURE_REPOS}"));
    for (index, repo) in venture.repos.iter().enumerate() {
        check_repo(&mut invalid, &format!("repos[{index}]"), repo);
    }
    let capabilities = &venture.capabilities;
    invalid.require(
        capabilities.len() <= VENTURE_CAPABILITIES,
        "capabilities",
        format!("at most {VENTURE_CAPABILITIES}"),
    );
    for (index, capability) in capabilities.iter().enumerate() {
        check_capability(&mut invalid, &format!("capabilities[{index}]"), capability);
    }
    if let Some(secrets) = &venture.secrets {
        check_secrets(&mut invalid, secrets);
    }
    if let Some(settings) = &venture.settings {
        check_settings(&mut invalid, settings);
    }
    invalid.finish()
}

/// Notes a capability that is not 1 to 50 of `a-z`, `0-9`, `_` and `-`. Unknown ones are kept and ignored.
pub fn check_capability(invalid: &mut Invalid, field: &str, capability: &str) {
    let good = (1..=50).contains(&capability.len())
        && capability.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    invalid.require(good, field, "must be 1 to 50 of a-z, 0-9, `_` and `-`");
}

fn check_org(invalid: &mut Invalid, org: &str) {
    let good = (1..=100).contains(&org.len())
        && org.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    invalid.require(good, "org", "must be 1 to 100 letters, digits, `.`, `_` and `-`");
}

fn check_secrets(invalid: &mut Invalid, secrets: &VentureSecrets) {
    let provider = secrets.provider.as_deref().is_none_or(|name| matches!(name, "infisical" | "command" | "env"));
    invalid.require(provider, "secrets.provider", "must be infisical, command or env");
    let env = secrets.env.as_deref().is_none_or(|name| matches!(name, "prod" | "dev"));
    invalid.require(env, "secrets.env", "must be prod or dev");
    if let Some(path) = &secrets.path {
        require_line(invalid, "secrets.path", path, SOURCE_CHARS);
    }
    for (index, name) in secrets.required.iter().enumerate() {
        let good = !name.is_empty()
            && !name.as_bytes()[0].is_ascii_digit()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        invalid.require(good, &format!("secrets.required[{index}]"), "must be the name of an environment variable");
    }
}

fn check_settings(invalid: &mut Invalid, settings: &VentureSettings) {
    let always = settings.worktrees.as_deref().is_none_or(|value| value == "always");
    invalid.require(always, "settings.worktrees", "must be always, or absent");
    let deny = settings.claims.as_deref().is_none_or(|value| value == "deny");
    invalid.require(deny, "settings.claims", "must be deny, or absent");
    for (index, path) in settings.global_docs.iter().enumerate() {
        require_line(invalid, &format!("settings.global_docs[{index}]"), path, SOURCE_CHARS);
    }
    if let Some(command) = &settings.verify_command {
        require_line(invalid, "settings.verify_command", command, LINE_CHARS);
    }
    if let Some(classifier) = &settings.classifier {
        let single = classifier.machine.is_some() || classifier.mode == crate::record::ClassifierMode::Off;
        invalid.require(single, "settings.classifier.machine", "is required: one machine classifies");
    }
}

/// Reads `{"ventures":[{"code","name","org","repos":[],"capabilities":[]}]}`. Unknown keys of a venture go to its meta.
///
/// # Errors
/// Every bad field of every venture; a text that is not of this form.
pub fn parse_import(text: &str) -> Result<Vec<Venture>, Invalid> {
    let mut invalid = Invalid::new();
    let value = canonical::parse(text).map_err(|error| single("ventures", error.to_string()))?;
    let list = value.get("ventures").and_then(Value::as_array);
    let list = list.ok_or_else(|| single("ventures", "must be a list of ventures"))?;
    let mut ventures = Vec::new();
    let mut codes = BTreeSet::new();
    for (index, entry) in list.iter().enumerate() {
        let path = format!("ventures[{index}]");
        let Some(entry) = entry.as_object() else {
            invalid.add(path, "must be an object");
            continue;
        };
        let venture = read_venture(&mut invalid, &path, entry);
        if let Err(errors) = validate(&venture) {
            errors.fields.into_iter().for_each(|error| invalid.add(format!("{path}.{}", error.field), error.message));
        }
        invalid.require(codes.insert(venture.code.clone()), &format!("{path}.code"), "is there twice");
        ventures.push(venture);
    }
    invalid.finish()?;
    Ok(ventures)
}

fn read_venture(invalid: &mut Invalid, path: &str, entry: &Map<String, Value>) -> Venture {
    let mut venture = Venture::default();
    for (key, value) in entry {
        let field = format!("{path}.{key}");
        match key.as_str() {
            "code" => venture.code = read_text(invalid, &field, value),
            "name" => venture.name = read_text(invalid, &field, value),
            "org" if value.is_null() => {}
            "org" => venture.org = Some(read_text(invalid, &field, value)),
            "repos" => venture.repos = read_set(invalid, &field, value),
            "capabilities" => venture.capabilities = read_set(invalid, &field, value),
            _ if value.is_null() => {}
            "secrets" => venture.secrets = read_object(invalid, &field, value),
            "settings" => venture.settings = read_object(invalid, &field, value),
            _ => {
                venture.meta.insert(key.clone(), value.clone());
            }
        }
    }
    if venture.name.is_empty() {
        venture.name.clone_from(&venture.code);
    }
    venture
}

fn read_text(invalid: &mut Invalid, field: &str, value: &Value) -> String {
    invalid.require(value.is_string(), field, "must be text");
    value.as_str().unwrap_or_default().to_owned()
}

fn read_set(invalid: &mut Invalid, field: &str, value: &Value) -> BTreeSet<String> {
    let texts = value.as_array().filter(|items| items.iter().all(Value::is_string));
    invalid.require(texts.is_some(), field, "must be a list of texts");
    texts.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn read_object<T: DeserializeOwned>(invalid: &mut Invalid, field: &str, value: &Value) -> Option<T> {
    let read = T::deserialize(value).ok();
    invalid.require(read.is_some(), field, "has an unknown key or a value of the wrong type");
    read
}

fn single(field: &str, message: impl Into<String>) -> Invalid {
    let mut invalid = Invalid::new();
    invalid.add(field, message);
    invalid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ClassifierMode, ClassifierSettings};

    fn names(invalid: &Invalid) -> Vec<&str> {
        invalid.fields.iter().map(|field| field.field.as_str()).collect()
    }

    #[test]
    fn p_07_codes_out_of_form_and_reserved_ones_are_refused() {
        for code in ["global", "fleet", "A", "a", "", "1a", "-a", "a_b", "aB", &"a".repeat(21)] {
            assert!(!is_code(code), "{code}");
        }
        for code in ["ab", "alpha-2", &"a".repeat(20)] {
            assert!(is_code(code), "{code}");
        }
    }

    #[test]
    fn every_bad_field_is_named() {
        let set = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        let venture = Venture {
            code: "global".into(),
            org: Some("a b".into()),
            repos: set(&["none"]),
            capabilities: set(&["Has Api"]),
            secrets: Some(VentureSecrets {
                provider: Some("vault".into()),
                env: Some("test".into()),
                required: vec!["1X".into()],
                ..VentureSecrets::default()
            }),
            settings: Some(VentureSettings {
                worktrees: Some("never".into()),
                claims: Some("warn".into()),
                classifier: Some(ClassifierSettings { mode: ClassifierMode::Poll, machine: None }),
                ..VentureSettings::default()
            }),
            ..Venture::default()
        };
        let expected = [
            "code",
            "name",
            "org",
            "repos[0]",
            "capabilities[0]",
            "secrets.provider",
            "secrets.env",
            "secrets.required[0]",
            "settings.worktrees",
            "settings.claims",
            "settings.classifier.machine",
        ];
        assert_eq!(names(&validate(&venture).unwrap_err()), expected);
    }

    #[test]
    fn p_07_an_import_keeps_unknown_keys_and_capabilities_and_reads_the_same_twice() {
        let text = r#"{"ventures":[{"code":"alpha","name":"Project Alpha","org":"example-org",
            "capabilities":["has_api","flies"],"color":{"hue":3}},{"code":"beta","settings":{"claims":"deny"}}]}"#;
        let ventures = parse_import(text).unwrap();
        assert_eq!(ventures[0].org.as_deref(), Some("example-org"));
        assert!(ventures[0].capabilities.contains("flies"));
        assert_eq!(ventures[0].meta["color"]["hue"], 3);
        assert_eq!(ventures[1].name, "beta");
        assert_eq!(ventures[1].settings.as_ref().and_then(|settings| settings.claims.as_deref()), Some("deny"));
        assert_eq!(parse_import(text).unwrap(), ventures);
    }

    #[test]
    fn a_bad_import_names_every_bad_field() {
        let text =
            r#"{"ventures":[{"code":"A","name":1},7,{"code":"ok","repos":[1]},{"code":"ok","secrets":{"key":1}}]}"#;
        let invalid = parse_import(text).unwrap_err();
        let expected = [
            "ventures[0].name",
            "ventures[0].code",
            "ventures[1]",
            "ventures[2].repos",
            "ventures[3].secrets",
            "ventures[3].code",
        ];
        assert_eq!(names(&invalid), expected);
        for text in ["", "[]", "{}", r#"{"ventures":{}}"#, r#"{"ventures":[],"ventures":[]}"#] {
            assert_eq!(names(&parse_import(text).unwrap_err()), ["ventures"], "{text}");
        }
    }
}
