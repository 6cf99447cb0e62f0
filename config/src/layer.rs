//! A layer of raw values and where each came from; laying one over another.
//!
//! Not here: what a value means (`value`), nor which settings exist (`key`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::env::{self, Environment};
use crate::key::{Key, Variable};
use crate::value::Raw;

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Built in.
    Default,
    /// A configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line of the key, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        name: &'static str,
    },
    /// A flag of the command line.
    CommandLine {
        /// The flag as it is typed, dashes included.
        flag: &'static str,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { name } => write!(f, "environment variable {name}"),
            Self::CommandLine { flag } => write!(f, "command line {flag}"),
        }
    }
}

/// Raw values with their origins. A layer holds only what it sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer(BTreeMap<Key, (Raw, Origin)>);

impl Layer {
    /// Sets a value.
    pub(crate) fn set(&mut self, key: Key, raw: Raw, origin: Origin) {
        self.0.insert(key, (raw, origin));
    }

    /// Lays a stronger layer over this one.
    pub(crate) fn lay(&mut self, stronger: Self) {
        self.0.extend(stronger.0);
    }

    /// Returns a value and who set it.
    pub(crate) fn get(&self, key: Key) -> Option<&(Raw, Origin)> {
        self.0.get(&key)
    }
}

/// Returns the settings that the environment makes.
pub(crate) fn from_environment(environment: &Environment) -> Layer {
    let mut layer = Layer::default();
    for key in Key::ALL {
        let variable = key.variable();
        let Some(text) = environment.get(variable.name()) else { continue };
        let raw = match variable {
            Variable::Holds(_) => Raw::Text(text.to_owned()),
            Variable::Negates(_) => Raw::Negated(text.to_owned()),
        };
        layer.set(key, raw, Origin::Environment { name: variable.name() });
    }
    layer
}

/// Returns variables with our prefix that nothing reads. They are reported, not refused: a child of a newer ctxnode may
/// carry a name that this build does not know, and it must still start.
pub(crate) fn unknown_variables(environment: &Environment) -> Vec<String> {
    let known = |name: &str| {
        name.starts_with(env::TEST_PREFIX)
            || env::NOT_SETTINGS.contains(&name)
            || Key::ALL.into_iter().any(|key| key.variable().name() == name)
    };
    environment.own_names().filter(|name| !known(name)).map(str::to_owned).collect()
}
