//! The file of this machine about secrets: `ctxnode/secrets.toml` in the configuration folder. It holds no secret.
//!
//! A command that prints secrets stands here and nowhere else: one that arrived by replication would let any admin of
//! the fleet run programs on every machine.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::SecretError;
use super::cache::MOST_HOURS;

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MachineFile {
    /// What this machine does differently for a venture, by code.
    pub venture: BTreeMap<String, VentureEntry>,
    /// Where Infisical is.
    pub infisical: Infisical,
    /// The secrets that all ventures share.
    pub shared: Option<Shared>,
    /// Whether the last secrets are kept in the keychain.
    pub cache: Cache,
}

/// Whether the last secrets of a venture are kept in the keychain, for a provider that cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// For how many hours, at most 168; 0 is not at all.
    pub hours: u32,
}

/// What this machine does differently for a venture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VentureEntry {
    /// `infisical`, `command` or `env`.
    pub provider: Option<String>,
    /// The program and its arguments, as they are.
    pub command: Vec<String>,
    /// The names that the env provider takes.
    pub names: Vec<String>,
    /// The path at the provider.
    pub path: Option<String>,
}

/// Where Infisical is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Infisical {
    /// The instance; Infisical's own cloud when absent.
    pub url: Option<String>,
    /// The project's id.
    pub project: Option<String>,
}

/// The secrets that all ventures share.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// Where the source is.
    pub path: String,
    /// Which; all of that path when empty.
    #[serde(default)]
    pub names: Vec<String>,
}

impl MachineFile {
    /// Reads the file; a missing one is empty.
    ///
    /// # Errors
    /// When it cannot be read or has unknown keys.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let bad = |reason: String| SecretError::File { path: path.to_owned(), reason };
        match std::fs::read_to_string(path) {
            // A value that somebody put here by mistake must not reach a screen: the message alone, without the line.
            Ok(text) => {
                let file: Self = toml::from_str(&text).map_err(|error| {
                    let line = error.span().map_or(0, |span| 1 + text[..span.start].matches('\n').count());
                    bad(format!("line {line} has an unknown key or a value of the wrong type"))
                })?;
                let fits = file.cache.hours <= MOST_HOURS;
                fits.then_some(file).ok_or_else(|| bad(format!("[cache] hours is at most {MOST_HOURS}")))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(bad(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_and_an_unknown_key_is_refused_without_its_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.toml");
        assert_eq!(MachineFile::read(&path).unwrap(), MachineFile::default());
        std::fs::write(&path, "[venture.alpha]\ncommand = [\"pass\", \"a b\"]\n[shared]\npath = \"/shared\"\n")
            .unwrap();
        let file = MachineFile::read(&path).unwrap();
        assert_eq!(file.venture["alpha"].command, ["pass", "a b"]);
        assert_eq!(file.shared, Some(Shared { path: "/shared".into(), names: Vec::new() }));
        std::fs::write(&path, "[cache]\nhours = 169\n").unwrap();
        assert!(MachineFile::read(&path).unwrap_err().to_string().contains("at most 168"));
        std::fs::write(&path, "[venture.alpha]\n\ntoken = \"s3cr3t\"\n").unwrap();
        let error = MachineFile::read(&path).unwrap_err().to_string();
        assert!(error.contains("line 3") && !error.contains("s3cr3t"), "{error}");
    }
}
