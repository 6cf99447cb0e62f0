//! The credentials of Universal Auth: a machine identity's client id and secret, from the keychain, the environment or a file
//! that nobody else can read. They travel in the body of one request, never in an argument list.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use ctxnode_config::{Environment, Platform};
use zeroize::Zeroizing;

use super::keychain::Keychain;
use super::{Secret, SecretError};

/// The file below the configuration folder.
pub const FILE: &str = "ctxnode/infisical-ua";

/// A machine identity.
#[derive(Debug)]
pub struct Credentials {
    /// Which.
    pub id: Secret,
    /// Its secret.
    pub secret: Secret,
}

/// Returns where the file is.
pub(super) fn file(env: &Environment) -> PathBuf {
    super::check::config_folder(env).join(FILE)
}

/// The item in the keychain.
pub const ITEM: &str = "infisical-ua";

/// Finds the credentials: in the keychain, else both variables, else the file.
///
/// # Errors
/// When the file is there and others can read it, or it lacks one of the two.
pub async fn credentials(env: &Environment) -> Result<Option<Credentials>, SecretError> {
    // A machine without a keychain, or with one that is locked, has the other two ways.
    if let Ok(keychain) = Keychain::find(Platform::current(), env)
        && let Ok(Some(text)) = keychain.get(ITEM).await
        && let Some(found) = read(text.expose())
    {
        return Ok(Some(found));
    }
    let variable = |name: &str| env.get(name).map(|value| Secret::new(value.to_owned()));
    if let (Some(id), Some(secret)) = (variable("INFISICAL_CLIENT_ID"), variable("INFISICAL_CLIENT_SECRET")) {
        return Ok(Some(Credentials { id, secret }));
    }
    let path = file(env);
    let bad = |reason: String| SecretError::File { path: path.clone(), reason };
    let found = match path.metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(error.to_string())),
    };
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretError::WideMode { path, mode });
    }
    let text = Zeroizing::new(std::fs::read_to_string(&path).map_err(|error| bad(error.to_string()))?);
    let found = read(&text);
    found.map(Some).ok_or_else(|| bad("it must hold the lines client_id=... and client_secret=...".to_owned()))
}

/// Reads the two lines of a file or of an item.
#[must_use]
pub fn read(text: &str) -> Option<Credentials> {
    let value = |wanted: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        let found = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        found
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
            .map(|value| Secret::new(value.to_owned()))
    };
    Some(Credentials { id: value("client_id")?, secret: value("client_secret")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn k_03_a_file_that_others_can_read_is_refused_with_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let env = Environment::from_pairs([("HOME", "/nowhere"), ("XDG_CONFIG_HOME", dir.path().to_str().unwrap())]);
        assert!(credentials(&env).await.unwrap().is_none());
        let path = dir.path().join(FILE);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "client_id=me\nclient_secret=s3cr3t\n").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        let error = credentials(&env).await.unwrap_err();
        assert_eq!(error.fix(), format!("type: chmod 600 {}", path.display()));
        mode(0o600);
        let found = credentials(&env).await.unwrap().unwrap();
        assert_eq!((found.id.expose(), found.secret.expose()), ("me", "s3cr3t"));
        assert_eq!(format!("{found:?}"), "Credentials { id: Secret, secret: Secret }");
    }
}
