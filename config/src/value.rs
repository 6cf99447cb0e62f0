//! From raw values to typed ones: paths, addresses, numbers, switches.
//!
//! Not here: defaults and layers. Each function answers `None` for a value that is not allowed; the caller names it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// A value as a layer carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Raw {
    /// Text: from the environment, the command line, or a string of a file.
    Text(String),
    /// A yes-or-no text whose yes means false.
    Negated(String),
    /// A whole number of a file.
    Integer(i64),
    /// A switch of a file.
    Boolean(bool),
    /// A list of strings of a file.
    List(Vec<String>),
    /// Anything else that TOML can say; no setting takes it.
    Other(&'static str),
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Negated(text) => write!(f, "{text:?}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::List(items) => write!(f, "{items:?}"),
            Self::Other(kind) => write!(f, "{kind}"),
        }
    }
}

/// The port of the loopback listener: free in the registry of well-known services and easy to remember.
const HTTP_PORT: u16 = 4747;

/// Returns an absolute path; a leading `~/` is the home directory.
pub(crate) fn path(raw: &Raw, home: &Path) -> Option<PathBuf> {
    match raw {
        Raw::Text(text) => expand(text, home),
        _ => None,
    }
}

/// Returns absolute paths; text is split at colons.
pub(crate) fn paths(raw: &Raw, home: &Path) -> Option<Vec<PathBuf>> {
    match raw {
        Raw::Text(text) => text.split(':').filter(|part| !part.is_empty()).map(|part| expand(part, home)).collect(),
        Raw::List(items) => items.iter().map(|item| expand(item, home)).collect(),
        _ => None,
    }
}

fn expand(text: &str, home: &Path) -> Option<PathBuf> {
    if text.contains('\0') {
        return None;
    }
    match text.strip_prefix("~/") {
        Some(rest) => Some(home.join(rest)),
        None if text == "~" => Some(home.to_owned()),
        None => Some(PathBuf::from(text)).filter(|path| path.is_absolute()),
    }
}

/// Returns a switch.
pub(crate) fn switch(raw: &Raw) -> Option<bool> {
    match raw {
        Raw::Boolean(value) => Some(*value),
        Raw::Text(text) => yes_or_no(text),
        Raw::Negated(text) => yes_or_no(text).map(|yes| !yes),
        _ => None,
    }
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Returns a whole number within a range.
pub(crate) fn number(raw: &Raw, range: RangeInclusive<u32>) -> Option<u32> {
    let number = match raw {
        Raw::Integer(number) => u32::try_from(*number).ok(),
        Raw::Text(text) => text.parse().ok(),
        _ => None,
    };
    number.filter(|number| range.contains(number))
}

/// Returns the address to listen on; the inner `None` is "no listener".
///
/// `on` is loopback. Any other address is taken only when somebody wrote it down.
#[expect(clippy::option_option, reason = "the outer level is a refusal, the inner one is a setting")]
pub(crate) fn listen(raw: &Raw) -> Option<Option<SocketAddr>> {
    if let Some(on) = switch(raw) {
        return Some(on.then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT))));
    }
    match raw {
        Raw::Text(text) => text.parse().ok().map(Some),
        _ => None,
    }
}

/// Returns a port, 0 included.
pub(crate) fn port(raw: &Raw) -> Option<u16> {
    number(raw, 0..=u32::from(u16::MAX)).and_then(|port| u16::try_from(port).ok())
}

/// Returns every item of a list, each read by `read`; text is split at commas.
pub(crate) fn each<T>(raw: &Raw, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    match raw {
        Raw::Text(text) => text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(read).collect(),
        Raw::List(items) => items.iter().map(|item| read(item)).collect(),
        _ => None,
    }
}
