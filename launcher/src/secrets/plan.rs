//! Where a venture's secrets come from: its record, and what this machine says beside it. Pure.

use ctxnode_api::operations::VentureView;
use serde::Serialize;

use super::{MachineFile, SecretError};
use crate::options::SecretsEnv;

/// How Infisical is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// With the login that its CLI has; over HTTP when the CLI is missing.
    Interactive,
    /// Over HTTP with a machine identity: nobody sits at this terminal's browser.
    UniversalAuth,
}

/// Who has the secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "provider", rename_all = "snake_case")]
pub enum Provider {
    /// Infisical.
    Infisical {
        /// How it is asked.
        login: Login,
    },
    /// A program of this machine.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
    },
    /// The environment of the launcher.
    Env {
        /// Which variables.
        names: Vec<String>,
    },
}

impl Provider {
    /// Returns the name that records and files use.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Infisical { .. } => "infisical",
            Self::Command { .. } => "command",
            Self::Env { .. } => "env",
        }
    }
}

/// Where the secrets of one launch come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The venture.
    pub venture: String,
    /// Who has them.
    #[serde(flatten)]
    pub provider: Provider,
    /// The path there.
    pub path: String,
    /// Which set.
    pub env: SecretsEnv,
    /// Names that must be there.
    pub required: Vec<String>,
}

/// Decides where the secrets of a venture come from; `None` when it has none. Also says what was decided otherwise than
/// asked.
///
/// # Errors
/// When the provider is a command and this machine does not name it.
pub fn decide(
    venture: &VentureView,
    machine: &MachineFile,
    asked: Option<SecretsEnv>,
    remote: bool,
) -> Result<(Option<Source>, Option<String>), SecretError> {
    let entry = machine.venture.get(&venture.code).cloned().unwrap_or_default();
    if venture.secrets.is_none() && !machine.venture.contains_key(&venture.code) {
        return Ok((None, None));
    }
    let record = venture.secrets.clone().unwrap_or_default();
    let inferred = if entry.command.is_empty() { None } else { Some("command".to_owned()) };
    let name = entry.provider.clone().or(inferred).or(record.provider).unwrap_or_else(|| "infisical".to_owned());
    let provider = match name.as_str() {
        "command" if entry.command.is_empty() => return Err(SecretError::NoCommand { venture: venture.code.clone() }),
        "command" => Provider::Command { argv: entry.command },
        "env" => {
            let mut names: Vec<String> = record.required.iter().cloned().chain(entry.names).collect();
            names.sort_unstable();
            names.dedup();
            Provider::Env { names }
        }
        _ => Provider::Infisical { login: if remote { Login::UniversalAuth } else { Login::Interactive } },
    };
    let (env, notice) = environment(record.env.as_deref(), asked);
    let path = entry.path.or(record.path).unwrap_or_else(|| format!("/{}", venture.code));
    Ok((Some(Source { venture: venture.code.clone(), provider, path, env, required: record.required }), notice))
}

/// `dev` only where the venture allows it, which is what its record's own environment says.
fn environment(record: Option<&str>, asked: Option<SecretsEnv>) -> (SecretsEnv, Option<String>) {
    let allowed = record == Some("dev");
    match asked {
        Some(SecretsEnv::Dev) if !allowed => {
            (SecretsEnv::Prod, Some("this venture does not allow --env dev: taking prod".to_owned()))
        }
        Some(asked) => (asked, None),
        None => (if allowed { SecretsEnv::Dev } else { SecretsEnv::Prod }, None),
    }
}

#[cfg(test)]
mod tests {
    use ctxnode_model::record::VentureSecrets;

    use super::*;
    use crate::plan::fixture::ventures;
    use crate::secrets::VentureEntry;

    fn venture(provider: Option<&str>, env: Option<&str>) -> VentureView {
        let owned = |text: &str| text.to_owned();
        let secrets = VentureSecrets {
            provider: provider.map(owned),
            path: None,
            env: env.map(owned),
            required: vec!["TOKEN".to_owned()],
        };
        VentureView { secrets: Some(secrets), ..ventures().remove(0) }
    }

    fn source(venture: &VentureView, machine: &MachineFile) -> Source {
        decide(venture, machine, None, false).unwrap().0.unwrap()
    }

    #[test]
    fn a_venture_without_secrets_has_none() {
        assert_eq!(decide(&ventures()[0], &MachineFile::default(), None, false).unwrap(), (None, None));
    }

    #[test]
    fn the_record_decides_and_the_machine_overrides() {
        let none = MachineFile::default();
        let found = source(&venture(None, None), &none);
        assert_eq!(found.provider, Provider::Infisical { login: Login::Interactive });
        assert_eq!((found.path.as_str(), found.env), ("/alpha", SecretsEnv::Prod));
        let remote = decide(&venture(None, None), &none, None, true).unwrap().0.unwrap();
        assert_eq!(remote.provider, Provider::Infisical { login: Login::UniversalAuth });
        assert_eq!(source(&venture(Some("env"), None), &none).provider, Provider::Env { names: vec!["TOKEN".into()] });
        let entry = VentureEntry { command: vec!["pass".into()], ..VentureEntry::default() };
        let machine = MachineFile { venture: [("alpha".to_owned(), entry)].into(), ..MachineFile::default() };
        assert_eq!(source(&venture(None, None), &machine).provider, Provider::Command { argv: vec!["pass".into()] });
    }

    #[test]
    fn a_command_that_arrived_by_replication_alone_is_not_run() {
        let error = decide(&venture(Some("command"), None), &MachineFile::default(), None, false).unwrap_err();
        assert!(matches!(error, SecretError::NoCommand { .. }));
    }

    #[test]
    fn dev_needs_the_ventures_leave() {
        let asked = |record| environment(record, Some(SecretsEnv::Dev));
        assert_eq!(asked(Some("dev")), (SecretsEnv::Dev, None));
        assert!(matches!(asked(None), (SecretsEnv::Prod, Some(_))));
        assert_eq!(environment(Some("dev"), None).0, SecretsEnv::Dev);
    }
}
