//! Who calls over the Unix socket, in headers: the shim, the launcher and the command line fill it, the gate reads it.
//!
//! These are statements and not proofs. The socket proves the user; the daemon finds the agent's process by itself and
//! takes from here only what a process cannot tell. Rights never depend on it.

use http::{HeaderMap, HeaderValue};

use crate::ClientError;
use crate::headers::{AGENT, CALLER, CLI, CLI_VERSION, DIRECTORY, INSTANCE, MACHINE};

/// The value of [`CALLER`] for a human on a terminal.
const PERSON: &str = "person";
/// The longest value that is read. A path may have 4,096 bytes; nothing else is near it.
const MAX_VALUE: usize = 4_096;

/// What kind of caller it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallerKind {
    /// A program; it must say when a human asked for something.
    #[default]
    Program,
    /// A human who types on a terminal.
    Person,
}

/// Who calls. Everything is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// A program or a person.
    pub kind: CallerKind,
    /// The agent id; people are `user-<name>`.
    pub agent: Option<String>,
    /// The agent CLI.
    pub cli: Option<String>,
    /// Its version.
    pub cli_version: Option<String>,
    /// What tells apart agents of one CLI on one machine.
    pub instance: Option<String>,
    /// The machine part of the agent id.
    pub machine: Option<String>,
    /// The working directory.
    pub directory: Option<String>,
}

impl Caller {
    /// Returns the headers that say it, for every call of a client.
    ///
    /// # Errors
    /// When a value holds a control character, which no header can.
    pub fn headers(&self) -> Result<Vec<(&'static str, HeaderValue)>, ClientError> {
        let kind = (self.kind == CallerKind::Person).then(|| PERSON.to_owned());
        let fields = [
            (CALLER, &kind),
            (AGENT, &self.agent),
            (CLI, &self.cli),
            (CLI_VERSION, &self.cli_version),
            (INSTANCE, &self.instance),
            (MACHINE, &self.machine),
            (DIRECTORY, &self.directory),
        ];
        let present = fields.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        present
            .map(|(name, value)| {
                let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| ClientError::Header { name })?;
                Ok((name, value))
            })
            .collect()
    }

    /// Reads what [`Self::headers`] wrote. A value that is too long or not UTF-8 counts as absent.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            let bytes = headers.get(name)?.as_bytes();
            let short = !bytes.is_empty() && bytes.len() <= MAX_VALUE;
            short.then(|| std::str::from_utf8(bytes).ok().map(str::to_owned)).flatten()
        };
        Self {
            kind: if text(CALLER).as_deref() == Some(PERSON) { CallerKind::Person } else { CallerKind::Program },
            agent: text(AGENT),
            cli: text(CLI),
            cli_version: text(CLI_VERSION),
            instance: text(INSTANCE),
            machine: text(MACHINE),
            directory: text(DIRECTORY),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_back(caller: &Caller) -> Caller {
        Caller::from_headers(
            &caller.headers().unwrap().into_iter().map(|(name, value)| (name.parse().unwrap(), value)).collect(),
        )
    }

    proptest! {
        #[test]
        fn a_caller_survives_the_headers(
            directory in proptest::option::of("/[^\\p{Cc}]{0,60}[^\\s\\p{Cc}]"),
            agent in proptest::option::of("[a-z0-9-]{1,63}"),
            person: bool,
        ) {
            let kind = if person { CallerKind::Person } else { CallerKind::Program };
            let caller = Caller { kind, agent, directory, ..Caller::default() };
            prop_assert_eq!(read_back(&caller), caller);
        }
    }

    #[test]
    fn a_control_character_is_refused_by_name() {
        let caller = Caller { directory: Some("/a\nb".to_owned()), ..Caller::default() };
        assert!(matches!(caller.headers(), Err(ClientError::Header { name: DIRECTORY })));
    }

    #[test]
    fn a_value_that_is_too_long_counts_as_absent() {
        let caller = |length| Caller { directory: Some("d".repeat(length)), ..Caller::default() };
        assert_eq!(read_back(&caller(MAX_VALUE)), caller(MAX_VALUE));
        assert_eq!(read_back(&caller(MAX_VALUE + 1)), Caller::default());
    }
}
