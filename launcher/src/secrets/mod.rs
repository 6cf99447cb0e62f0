//! Secrets: from the provider into this process's memory, and from there into the agent's environment. Nowhere else.
//!
//! Never here: a file, a log line, an argument list, an error with a part of a value. Whatever holds a value is wiped
//! when it is dropped, and its `Debug` shows nothing.

pub mod audit;
pub mod cache;
pub mod check;
mod error;
pub mod http;
mod infisical;
pub mod keychain;
mod machine;
mod parse;
mod plan;
mod universal;

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::Zeroizing;

pub use error::SecretError;
pub use infisical::{EXPORT_LIMIT, fetch_by_cli};
pub use machine::{Cache, Infisical, MachineFile, Shared, VentureEntry};
pub use parse::parse;
pub use plan::{Login, Provider, Source, decide};
pub use universal::{
    Credentials, FILE as CREDENTIALS_FILE, ITEM as CREDENTIALS_ITEM, credentials, read as read_credentials,
};

use crate::program::Program;
use ctxnode_config::Environment;

/// A value.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a value over.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// Returns the value, for the environment of a child or the body of a request.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<Zeroizing<String>> for Secret {
    fn from(value: Zeroizing<String>) -> Self {
        Self(value)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// The secrets of one launch. Frozen: nothing changes or renews them while the agent lives.
#[derive(Default)]
pub struct Secrets(BTreeMap<String, Secret>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl FromIterator<(String, Secret)> for Secrets {
    fn from_iter<T: IntoIterator<Item = (String, Secret)>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Secrets {
    /// Returns the names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns names and values.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(name, secret)| (name.as_str(), secret))
    }

    /// Returns one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// Takes one out.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that all required names are there.
    ///
    /// # Errors
    /// Names those that are not, and those that are.
    pub fn require(self, required: &[String]) -> Result<Self, SecretError> {
        let missing: Vec<String> = required.iter().filter(|name| self.get(name).is_none()).cloned().collect();
        if missing.is_empty() {
            return Ok(self);
        }
        Err(SecretError::Missing { missing, found: self.0.into_keys().collect() })
    }
}

/// Whether a text can name an environment variable.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let starts = text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    starts && text.len() <= 200 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Fetches the secrets of a venture, once. Programs run in `directory`, where the project file of Infisical lies.
///
/// # Errors
/// One of the failures of the provider; none holds a part of its output.
pub async fn fetch(
    source: &Source,
    env: &Environment,
    machine: &MachineFile,
    directory: &Path,
) -> Result<Secrets, SecretError> {
    let secrets = match &source.provider {
        Provider::Env { names } => {
            let taken = names.iter().filter_map(|name| Some((name.clone(), Secret::new(env.get(name)?.to_owned()))));
            taken.collect()
        }
        Provider::Command { argv } => {
            let [program, arguments @ ..] = argv.as_slice() else {
                return Err(SecretError::NoCommand { venture: source.venture.clone() });
            };
            infisical::run_command(&Program::new(program, arguments).within(directory)).await?
        }
        Provider::Infisical { login } => {
            let cli = crate::program::find("infisical", env);
            match (login, cli) {
                (Login::Interactive, Some(cli)) => fetch_by_cli(&cli, source, env, machine, directory).await?,
                (Login::Interactive, None) if credentials(env).await?.is_none() => return Err(SecretError::CliMissing),
                _ => http::Api::login(env, machine).await?.list(&source.path, source.env.name()).await?,
            }
        }
    };
    secrets.require(&source.required)
}
