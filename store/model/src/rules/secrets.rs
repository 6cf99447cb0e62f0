//! The secret scan: what looks like a credential does not enter the replica, because replication cannot be undone.
//!
//! One pass over the bytes. A position is looked at closer only when its byte can begin a known prefix or a word, so a
//! note of 500 KB costs a few milliseconds. Findings carry positions and kinds, never values. It is a net with meshes:
//! it knows the common shapes and asks for entropy elsewhere; a caller may override it and is logged for that.

mod shapes;

use std::fmt;
use std::ops::Range;

use serde_json::Value;

use crate::FieldError;

/// What a suspected secret looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretKind {
    /// `AKIA…` or `ASIA…`.
    AwsAccessKey,
    /// `ghp_…`, `gho_…`, `ghu_…`, `ghs_…`, `ghr_…` or `github_pat_…`.
    GithubToken,
    /// `xoxb-…` and its siblings.
    SlackToken,
    /// `sk-ant-…`.
    AnthropicKey,
    /// `sk-…`.
    OpenAiKey,
    /// `AIza…`.
    GoogleKey,
    /// `sk_live_…` or `rk_live_…`.
    StripeLiveKey,
    /// A PEM block with a private key.
    PrivateKey,
    /// Three base64url parts, the first a JSON header.
    Jwt,
    /// 64 hex digits right after a word like key, token or secret.
    CtxnodeToken,
    /// `password = …` and the like with a value that looks random.
    Assignment,
}

impl SecretKind {
    /// Returns the name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AwsAccessKey => "AWS access key",
            Self::GithubToken => "GitHub token",
            Self::SlackToken => "Slack token",
            Self::AnthropicKey => "Anthropic key",
            Self::OpenAiKey => "OpenAI key",
            Self::GoogleKey => "Google key",
            Self::StripeLiveKey => "Stripe live key",
            Self::PrivateKey => "private key",
            Self::Jwt => "JWT",
            Self::CtxnodeToken => "ctxnode token",
            Self::Assignment => "assigned secret",
        }
    }
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A place that looks like a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// What it looks like.
    pub kind: SecretKind,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// Returns the first suspicion of a text.
#[must_use]
pub fn scan(text: &str) -> Option<Suspicion> {
    let (kind, range) = shapes::find(text, 0)?;
    Some(Places::new(text).place(kind, &range))
}

/// Returns every suspicion of a text, in order.
#[must_use]
pub fn scan_all(text: &str) -> Vec<Suspicion> {
    let mut places = Places::new(text);
    findings(text).map(|(kind, range)| places.place(kind, &range)).collect()
}

/// Returns the text with each suspected secret replaced by `[redacted: <kind>]`.
#[must_use]
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (kind, range) in findings(text) {
        out.push_str(&text[copied..range.start]);
        out.push_str("[redacted: ");
        out.push_str(kind.name());
        out.push(']');
        copied = range.end;
    }
    out.push_str(&text[copied..]);
    out
}

/// Returns the refusal of each field with a suspected secret; empty when all are clean.
pub fn scan_fields<'a>(fields: impl IntoIterator<Item = (String, &'a str)>) -> Vec<FieldError> {
    fields.into_iter().filter_map(|(field, text)| scan(text).map(|found| refusal(field, found))).collect()
}

/// Returns the refusal of each text, key or keyed value inside a structured value, with paths below `field`.
#[must_use]
pub fn scan_value(field: &str, value: &Value) -> Vec<FieldError> {
    let mut out = Vec::new();
    walk(field, None, value, &mut out);
    out
}

fn walk(path: &str, key: Option<&str>, value: &Value, out: &mut Vec<FieldError>) {
    match value {
        Value::String(text) => {
            let assigned = key.and_then(|key| shapes::assigned(key, text));
            let assigned = assigned.map(|kind| Suspicion { kind, line: 1, column: 1 });
            out.extend(scan(text).or(assigned).map(|found| refusal(path.to_owned(), found)));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| walk(&format!("{path}[{index}]"), key, item, out));
        }
        Value::Object(entries) => {
            for (position, (key, value)) in entries.iter().enumerate() {
                // A suspected key must not show in the path of its own refusal.
                if let Some(found) = scan(key) {
                    out.push(refusal(format!("{path}.(key {})", position + 1), found));
                } else {
                    walk(&format!("{path}.{key}"), Some(key), value, out);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn refusal(field: String, found: Suspicion) -> FieldError {
    let Suspicion { kind, line, column } = found;
    let message = format!("looks like a secret ({kind}) at line {line}, column {column}; secrets are not stored");
    FieldError { field, message }
}

fn findings(text: &str) -> impl Iterator<Item = (SecretKind, Range<usize>)> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        let (kind, range) = shapes::find(text, from)?;
        from = range.end;
        Some((kind, range))
    })
}

/// Turns ascending byte positions into lines and columns in one walk.
struct Places<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    line_start: usize,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1, line_start: 0 }
    }

    fn place(&mut self, kind: SecretKind, range: &Range<usize>) -> Suspicion {
        for (offset, _) in self.text[self.at..range.start].match_indices('\n') {
            self.line += 1;
            self.line_start = self.at + offset + 1;
        }
        self.at = range.start;
        let column = super::text::chars(&self.text[self.line_start..range.start]) + 1;
        Suspicion { kind, line: self.line, column }
    }
}

#[cfg(test)]
mod tests;
