//! Whether a secret is there, and whether two are equal, without showing either.

use std::path::PathBuf;

use ctxnode_config::Environment;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Secret;

/// What is told of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// The venture.
    pub venture: String,
    /// Whether the provider has it.
    pub present: bool,
    /// Eight hex digits that are equal for equal values within the fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// Returns the short hash of a value: HMAC-SHA-256 under a key that is made from the fleet's id, cut to 32 bits, so that
/// whoever sees it elsewhere cannot try values.
#[must_use]
pub fn short_hash(fleet: &str, secret: &Secret) -> String {
    let key = Sha256::new().chain_update(b"ctxnode secret check\0").chain_update(fleet.as_bytes()).finalize();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes a key of any length");
    mac.update(secret.expose().as_bytes());
    data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes()[..4])
}

/// Returns the folder of configuration files.
#[must_use]
pub fn config_folder(env: &Environment) -> PathBuf {
    let set = env.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    set.unwrap_or_else(|| PathBuf::from(env.get("HOME").unwrap_or("/")).join(".config"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k_05_equal_values_have_equal_hashes_within_a_fleet_only() {
        let hash = |fleet: &str, value: &str| short_hash(fleet, &Secret::new(value.to_owned()));
        assert_eq!(hash("f1", "s3cr3t"), hash("f1", "s3cr3t"));
        assert_ne!(hash("f1", "s3cr3t"), hash("f1", "s3cr3u"));
        assert_ne!(hash("f1", "s3cr3t"), hash("f2", "s3cr3t"));
        assert_eq!(hash("f1", "").len(), 8);
    }
}
