//! Escalation: when an agent is told to stop, and what a call for help must say.
//!
//! The counters are node-local and pure: an error or a success goes in, the notices that are now due come out.
//! Activity is not progress, so nothing but a success of the same command resets a counter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::canonical::sha256_hex;
use super::limits::{
    BLOCKED_MS, CREDENTIAL_MS, ERROR_NOTICES, ESCALATION_CHARS, ESCALATION_TRIED, ITEM_CHARS, SIGNATURE_CHARS,
};
use super::text::{cut, require_chars};
use crate::{Invalid, Timestamp};

mod signature;

pub use signature::normalise;

/// What sets an escalation off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A credential is missing or dead.
    Credential,
    /// The same error again and again.
    RepeatedError,
    /// Blocked on one problem for too long.
    Blocked,
    /// The agent asks by itself.
    Manual,
}

impl Trigger {
    /// Every trigger.
    pub const ALL: [Self; 4] = [Self::Credential, Self::RepeatedError, Self::Blocked, Self::Manual];

    /// Returns the name that is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::RepeatedError => "repeated_error",
            Self::Blocked => "blocked",
            Self::Manual => "manual",
        }
    }
}

/// The hash of a normalised error: equal for errors that differ only in values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signature(pub String);

impl Signature {
    /// Returns the signature of an error's text.
    #[must_use]
    pub fn of(error: &str) -> Self {
        Self(sha256_hex(cut(&normalise(error), SIGNATURE_CHARS).as_bytes()))
    }
}

/// Whether an error says that a credential is missing or dead.
#[must_use]
pub fn is_credential_error(error: &str) -> bool {
    const PHRASES: [&str; 14] = [
        "unauthorized",
        "unauthenticated",
        "forbidden",
        "not logged in",
        "authentication failed",
        "authentication required",
        "bad credentials",
        "invalid credentials",
        "permission denied (publickey",
        "missing key",
        "missing api key",
        "missing credential",
        "token expired",
        "invalid api key",
    ];
    let lower = error.to_lowercase();
    if PHRASES.iter().any(|phrase| lower.contains(phrase)) {
        return true;
    }
    // `HTTP/1.1 401`, `status code: 403`, `error 401`; a line number or a count has other words before it.
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() > 1);
    let mut before = "";
    words.into_iter().any(|word| {
        let status = matches!(word, "401" | "403") && matches!(before, "http" | "status" | "code" | "error");
        before = word;
        status
    })
}

/// What a session is told, once per threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Stop, file an issue, ask the human.
    Credential,
    /// Stop; escalate with what was tried.
    RepeatedError {
        /// Which error.
        signature: Signature,
        /// How often.
        count: u32,
    },
    /// The time-box has expired: escalate or pivot.
    Blocked,
}

/// The counters of one session. Bounded: the error seen longest ago makes room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Errors by signature.
    errors: BTreeMap<Signature, Seen>,
    /// Since when a credential has been missing.
    credential_since: Option<Timestamp>,
    credential_told: bool,
    /// The `blocked_at` for which the time-box notice was given.
    blocked_told: Option<Timestamp>,
}

/// How often an error was seen, and by which command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    count: u32,
    last: Timestamp,
    command: Option<String>,
}

/// How many different errors of a session are counted: an agent that meets more than this in a row is not repeating.
const ERRORS_KEPT: usize = 64;

impl Counters {
    /// Counts an error, and returns the notices that are due by it. `command` is the signature of what failed.
    pub fn error(&mut self, error: &str, command: Option<&str>, now: Timestamp) -> Vec<Notice> {
        let mut notices = Vec::new();
        if is_credential_error(error) {
            let since = *self.credential_since.get_or_insert(now);
            if now.since(since) > CREDENTIAL_MS && !self.credential_told {
                self.credential_told = true;
                notices.push(Notice::Credential);
            }
        }
        let signature = Signature::of(error);
        let seen = self.errors.entry(signature.clone()).or_default();
        seen.count = seen.count.saturating_add(1);
        seen.last = now;
        seen.command = command.map(normalise).or(seen.command.take());
        let count = seen.count;
        if ERROR_NOTICES.contains(&count) {
            notices.push(Notice::RepeatedError { signature, count });
        }
        self.make_room();
        notices
    }

    /// Notes a success of a command: the errors of that command are forgotten, and so is a missing credential that one
    /// of them told of.
    pub fn success(&mut self, command: &str) {
        let command = normalise(command);
        let before = self.errors.len();
        self.errors.retain(|_, seen| seen.command.as_deref() != Some(command.as_str()));
        if self.errors.len() < before {
            self.credential_since = None;
            self.credential_told = false;
        }
    }

    /// Returns the time-box notice when the session has been blocked on one problem for more than 30 minutes.
    pub fn blocked(&mut self, blocked_at: Option<Timestamp>, now: Timestamp) -> Option<Notice> {
        let since = blocked_at?;
        let due = now.since(since) > BLOCKED_MS && self.blocked_told != Some(since);
        due.then(|| {
            self.blocked_told = Some(since);
            Notice::Blocked
        })
    }

    /// Returns how often an error was seen since its command last succeeded.
    #[must_use]
    pub fn count(&self, error: &str) -> u32 {
        self.errors.get(&Signature::of(error)).map_or(0, |seen| seen.count)
    }

    /// Returns how often the error that was seen most often was seen.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.errors.values().map(|seen| seen.count).max().unwrap_or(0)
    }

    fn make_room(&mut self) {
        while self.errors.len() > ERRORS_KEPT {
            let oldest = self.errors.iter().min_by_key(|(_, seen)| seen.last).map(|(signature, _)| signature.clone());
            oldest.map(|signature| self.errors.remove(&signature));
        }
    }
}

/// The fields of a call for help.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EscalateFields {
    /// The name of a [`Trigger`].
    pub trigger: String,
    /// The error, when there was one.
    pub error: Option<String>,
    /// What was tried.
    pub tried: Vec<String>,
    /// What is needed.
    pub need: String,
}

impl EscalateFields {
    /// Checks all fields at once.
    ///
    /// # Errors
    /// Every bad field.
    pub fn validate(&self) -> Result<Trigger, Invalid> {
        let mut invalid = Invalid::new();
        let trigger = Trigger::ALL.into_iter().find(|trigger| trigger.name() == self.trigger);
        let names = Trigger::ALL.map(Trigger::name).join(", ");
        invalid.require(trigger.is_some(), "escalate.trigger", format!("must be one of {names}"));
        if let Some(error) = &self.error {
            require_chars(&mut invalid, "escalate.error", error, ESCALATION_CHARS);
        }
        let count = self.tried.len();
        invalid.require(
            count <= ESCALATION_TRIED,
            "escalate.tried",
            format!("has {count} items; at most {ESCALATION_TRIED}"),
        );
        for (index, item) in self.tried.iter().enumerate().take(ESCALATION_TRIED) {
            require_chars(&mut invalid, &format!("escalate.tried[{index}]"), item, ITEM_CHARS);
        }
        require_chars(&mut invalid, "escalate.need", &self.need, ESCALATION_CHARS);
        match trigger {
            Some(trigger) if invalid.fields.is_empty() => Ok(trigger),
            _ => Err(invalid),
        }
    }
}

#[cfg(test)]
mod tests;
