//! The last secrets of a venture, sealed by the keychain and with an expiry: a laptop on a train can start an agent. Off unless
//! `[cache] hours` in `ctxnode/secrets.toml` says how long.
//!
//! The provider is always asked first, so that a launch has what holds now (K-04); the cache stands in only for one that
//! cannot be reached. A refusal is an answer, and nothing stands in for it.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::parse::wipe;
use super::{Secret, SecretError, Secrets, Source, is_name};

/// The longest time that secrets may be kept: a week away from every network.
pub const MOST_HOURS: u32 = 168;

/// Returns the name of a venture's item in the keychain.
#[must_use]
pub fn item(venture: &str) -> String {
    format!("secrets-{venture}")
}

/// Returns what is put into the keychain. Times are seconds since 1970.
#[must_use]
pub fn seal(secrets: &Secrets, source: &Source, now: i64, hours: u32) -> Secret {
    let values: serde_json::Map<String, Value> =
        secrets.pairs().map(|(name, secret)| (name.to_owned(), secret.expose().into())).collect();
    let mut sealed = json!({
        "stored_at": now, "expires_at": now + i64::from(hours) * 3_600,
        "provider": source.provider.name(), "path": source.path, "env": source.env.name(), "secrets": values,
    });
    let text = Zeroizing::new(sealed.to_string());
    wipe(&mut sealed);
    Secret::from(text)
}

/// What lies in the keychain for a venture.
#[derive(Debug)]
pub enum Kept {
    /// Secrets that may still be used, and how many seconds old they are.
    Fresh(Secrets, i64),
    /// Something that may not: too old, of the future, from another place, or of another form.
    Stale,
}

/// Opens what was sealed.
#[must_use]
pub fn open(sealed: &Secret, source: &Source, now: i64) -> Kept {
    let Ok(mut value) = serde_json::from_str::<Value>(sealed.expose()) else { return Kept::Stale };
    let times = value["stored_at"].as_i64().zip(value["expires_at"].as_i64());
    let same = value["provider"] == source.provider.name()
        && value["path"] == source.path.as_str()
        && value["env"] == source.env.name();
    let found: Option<Secrets> = value["secrets"].as_object().and_then(|values| {
        let pair = |(name, value): (&String, &Value)| {
            is_name(name).then_some(())?;
            Some((name.clone(), Secret::new(value.as_str()?.to_owned())))
        };
        values.iter().map(pair).collect()
    });
    wipe(&mut value);
    match (times, found) {
        // A clock that was set back would keep them for ever.
        (Some((stored, expires)), Some(secrets)) if same && stored <= now && now < expires && !secrets.is_empty() => {
            Kept::Fresh(secrets, now - stored)
        }
        _ => Kept::Stale,
    }
}

/// Whether a failure means that the provider could not be reached. Any other may be its no: an access that was taken away must
/// not go on for as long as the cache lasts.
#[must_use]
pub fn may_stand_in(error: &SecretError) -> bool {
    matches!(error, SecretError::Unreachable { .. } | SecretError::TooSlow { .. } | SecretError::Away { .. })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::options::SecretsEnv;
    use crate::secrets::Provider;

    fn source(path: &str) -> Source {
        let provider = Provider::Command { argv: vec!["pass".into()] };
        Source { venture: "alpha".into(), provider, path: path.into(), env: SecretsEnv::Prod, required: Vec::new() }
    }

    fn secrets() -> Secrets {
        [("TOKEN".to_owned(), Secret::new("s3cr3t".into()))].into_iter().collect()
    }

    #[test]
    fn what_is_sealed_opens_until_it_expires_and_for_its_own_place_only() {
        let sealed = seal(&secrets(), &source("/alpha"), 1_000, 2);
        let opened = |source: &Source, now| open(&sealed, source, now);
        match opened(&source("/alpha"), 1_000 + 7_199) {
            Kept::Fresh(found, age) => assert_eq!((found.get("TOKEN").unwrap().expose(), age), ("s3cr3t", 7_199)),
            Kept::Stale => panic!("two hours are not over"),
        }
        assert!(matches!(opened(&source("/alpha"), 1_000 + 7_200), Kept::Stale), "they are now");
        assert!(matches!(opened(&source("/alpha"), 999), Kept::Stale), "a clock that was set back");
        assert!(matches!(opened(&source("/beta"), 1_001), Kept::Stale), "another path");
        assert!(matches!(open(&Secret::new("{}".into()), &source("/alpha"), 1), Kept::Stale));
        assert!(!format!("{sealed:?}").contains("s3cr3t"));
    }

    #[test]
    fn nothing_stands_in_for_a_refusal() {
        let failed = |login_needed| SecretError::Failed { program: "x".into(), code: 1, login_needed };
        let limit = Duration::from_secs(30);
        for error in [
            SecretError::Away { program: "x".into(), code: 69 },
            SecretError::TooSlow { program: "x".into(), limit },
            SecretError::Unreachable { action: "list" },
        ] {
            assert!(may_stand_in(&error), "{error}");
        }
        for error in [
            failed(true),
            failed(false),
            SecretError::Refused { action: "login", status: 401 },
            SecretError::Refused { action: "list", status: 403 },
            SecretError::NoEntries { program: "x".into() },
            SecretError::NoProject,
        ] {
            assert!(!may_stand_in(&error), "{error}");
        }
    }
}
