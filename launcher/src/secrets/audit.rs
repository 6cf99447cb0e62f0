//! The shared secrets of all ventures: are they where they should be, and equal to their source? Only names leave this file.

use serde::Serialize;

use super::{Secrets, Shared};

/// How a shared secret stands at one venture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// As at the source.
    Equal,
    /// Not there.
    Missing,
    /// Another value: somebody's decision, or a rotation that was forgotten. Never overwritten.
    Different,
}

/// One line of an audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The venture.
    pub venture: String,
    /// The secret.
    pub name: String,
    /// How it stands.
    pub standing: Standing,
}

/// Compares a venture with the source of shared secrets.
#[must_use]
pub fn compare(shared: &Shared, source: &Secrets, venture: &str, own: &Secrets) -> Vec<Finding> {
    let wanted = source.pairs().filter(|(name, _)| shared.names.is_empty() || shared.names.iter().any(|n| n == name));
    let findings = wanted.map(|(name, value)| {
        let standing = match own.get(name) {
            None => Standing::Missing,
            Some(other) if value.expose() == other.expose() => Standing::Equal,
            Some(_) => Standing::Different,
        };
        Finding { venture: venture.to_owned(), name: name.to_owned(), standing }
    });
    findings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::parse;

    #[test]
    fn k_07_missing_and_different_are_told_apart() {
        let source = parse("p", b"A=1\nB=2\nC=3\nD=4").unwrap();
        let own = parse("p", b"A=1\nB=x\nZ=9").unwrap();
        let shared = Shared { path: "/shared".into(), names: ["A", "B", "C"].map(str::to_owned).into() };
        let found = compare(&shared, &source, "alpha", &own);
        let found: Vec<_> = found.iter().map(|finding| (finding.name.as_str(), finding.standing)).collect();
        assert_eq!(found, [("A", Standing::Equal), ("B", Standing::Different), ("C", Standing::Missing)]);
    }
}
