//! The node's key pair and the fleet's recovery key. Secrets are wiped on drop and never printed.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ctxnode_model::NodeKey;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::Entropy;

/// The secret half of a node's key pair: it signs the node's entries and is its network identity.
#[derive(Clone)]
pub struct NodeSecret(SigningKey);

impl NodeSecret {
    /// Makes a new one.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        entropy.fill(seed.as_mut());
        Self(SigningKey::from_bytes(&seed))
    }

    /// Returns the public half.
    #[must_use]
    pub fn public(&self) -> NodeKey {
        NodeKey(self.0.verifying_key().to_bytes())
    }

    /// Reads the key file, or makes one with mode 0600.
    ///
    /// # Errors
    /// When the file cannot be used, is readable by others, or does not hold a key.
    pub fn load_or_create(path: &Path, entropy: &dyn Entropy) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                let secret = Self::generate(entropy);
                secret.save(path)?;
                Ok(secret)
            }
            result => result,
        }
    }

    /// Reads the key file.
    ///
    /// # Errors
    /// When the file cannot be read, is readable by others, or does not hold a key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        let mode = std::fs::metadata(path).map_err(io)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(io)?);
        let seed: NodeKey = text.trim().parse().map_err(|_| KeyError::Malformed { path: path.to_owned() })?;
        let seed = Zeroizing::new(seed.0);
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    fn save(&self, path: &Path) -> Result<(), KeyError> {
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        let seed = Zeroizing::new(self.0.to_bytes());
        let text = Zeroizing::new(format!("{}\n", NodeKey(*seed)));
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
    }

    /// Returns the seed, from which the network identity is made.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Signs bytes for one purpose; a signature for another domain never verifies.
    #[must_use]
    pub fn sign(&self, domain: &[u8], bytes: &[u8]) -> [u8; 64] {
        self.sign_hash(domain, &blake3::hash(bytes))
    }

    /// Signs bytes by their hash, for callers that have it.
    pub(crate) fn sign_hash(&self, domain: &[u8], hash: &blake3::Hash) -> [u8; 64] {
        self.0.sign(&message(domain, hash)).to_bytes()
    }
}

impl fmt::Debug for NodeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeSecret({})", self.public())
    }
}

/// The key that beats all admins. It is shown once, when the fleet is made, and kept nowhere.
#[derive(Clone)]
pub struct RecoveryKey(SigningKey);

impl RecoveryKey {
    /// Makes a new one.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        entropy.fill(seed.as_mut());
        Self(SigningKey::from_bytes(&seed))
    }

    /// Returns the public half, which genesis names.
    #[must_use]
    pub fn public(&self) -> NodeKey {
        NodeKey(self.0.verifying_key().to_bytes())
    }

    /// Returns the words to write down: `ctxr-` and 64 hex digits in groups of eight.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let hex = NodeKey(self.0.to_bytes()).to_string();
        let groups: Vec<&str> = (0..hex.len()).step_by(8).map(|at| &hex[at..at + 8]).collect();
        Zeroizing::new(format!("ctxr-{}", groups.join("-")))
    }

    /// Returns it as a signer of entries.
    pub(crate) fn signer(&self) -> NodeSecret {
        NodeSecret(self.0.clone())
    }
}

impl std::str::FromStr for RecoveryKey {
    type Err = RecoveryKeyError;

    /// Reads what [`Self::reveal`] returned; case, spaces and dashes do not matter.
    fn from_str(text: &str) -> Result<Self, RecoveryKeyError> {
        let mut hex = Zeroizing::new(String::with_capacity(64));
        let lower = Zeroizing::new(text.trim().to_ascii_lowercase());
        let rest = lower.strip_prefix("ctxr-").ok_or(RecoveryKeyError)?;
        hex.extend(rest.chars().filter(|c| !matches!(c, '-' | ' ')));
        let seed: NodeKey = hex.parse().map_err(|_| RecoveryKeyError)?;
        let seed = Zeroizing::new(seed.0);
        Ok(Self(SigningKey::from_bytes(&seed)))
    }
}

/// A text that is no recovery key. It says nothing about the text, which may be a secret with a slip in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this is not a recovery key: it is `ctxr-` and 64 hex digits")]
pub struct RecoveryKeyError;

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(..)")
    }
}

/// Verifies a signature made by [`NodeSecret::sign`].
#[must_use]
pub fn verify(key: NodeKey, domain: &[u8], bytes: &[u8], signature: &[u8; 64]) -> bool {
    verify_hash(key, domain, &blake3::hash(bytes), signature)
}

/// The same for callers that have the hash of the bytes.
pub(crate) fn verify_hash(key: NodeKey, domain: &[u8], hash: &blake3::Hash, signature: &[u8; 64]) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(&key.0) else { return false };
    key.verify_strict(&message(domain, hash), &Signature::from_bytes(signature)).is_ok()
}

/// The signed message is the domain and a BLAKE3 hash, so that a large entry is read once and not copied.
fn message(domain: &[u8], hash: &blake3::Hash) -> Vec<u8> {
    [domain, hash.as_bytes()].concat()
}

/// The key file cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// Reading or writing it failed.
    #[error("key file {path} cannot be used")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("key file {path} has mode {mode:o}, it must be 600")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It does not hold a key.
    #[error("key file {path} does not hold 64 hex digits")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededEntropy;

    #[test]
    fn a_key_file_readable_by_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        let entropy = SeededEntropy::new(1);
        let made = NodeSecret::load_or_create(&path, &entropy).unwrap();
        assert_eq!(NodeSecret::load_or_create(&path, &entropy).unwrap().public(), made.public());
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(NodeSecret::load(&path), Err(KeyError::Exposed { mode: 0o644, .. })));
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let secret = NodeSecret::generate(&SeededEntropy::new(2));
        let hex = NodeKey(secret.0.to_bytes()).to_string();
        assert!(!format!("{secret:?}").contains(&hex));
        let recovery = RecoveryKey::generate(&SeededEntropy::new(3));
        assert_eq!(format!("{recovery:?}"), "RecoveryKey(..)");
    }

    #[test]
    fn a_recovery_key_that_was_written_down_is_read_again() {
        let key = RecoveryKey::generate(&SeededEntropy::new(3));
        let words = key.reveal();
        for typed in [words.to_string(), format!(" {} \n", words.to_uppercase()), words.replacen("-", "- ", 2)] {
            assert_eq!(typed.parse::<RecoveryKey>().unwrap().public(), key.public(), "{typed}");
        }
        for bad in ["", "ctxr-", &words[..words.len() - 1], &words.replace("ctxr", "ctxj"), &format!("{}0", *words)] {
            assert!(bad.parse::<RecoveryKey>().is_err());
        }
    }

    #[test]
    fn a_signature_holds_for_its_domain_only() {
        let secret = NodeSecret::generate(&SeededEntropy::new(4));
        let signature = secret.sign(b"a\0", b"bytes");
        assert!(verify(secret.public(), b"a\0", b"bytes", &signature));
        assert!(!verify(secret.public(), b"b\0", b"bytes", &signature));
        assert!(!verify(secret.public(), b"a\0", b"other", &signature));
    }
}
