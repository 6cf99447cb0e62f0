//! The shapes of secrets: prefixes with a body of known length, and words that are followed by a random value.

use std::ops::Range;

use super::SecretKind;

/// Returns the first suspicion at or after `from`, with the bytes of its value.
pub(super) fn find(text: &str, from: usize) -> Option<(SecretKind, Range<usize>)> {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        let prefixed = match bytes[at] {
            b'g' | b'A' | b'x' | b's' | b'r' | b'e' | b'-' => prefixed(bytes, at),
            _ => None,
        };
        if let Some((kind, end)) = prefixed {
            return Some((kind, at..end));
        }
        let begins_word = bytes[at].is_ascii_alphabetic() && (at == 0 || !is_word(bytes[at - 1]));
        if begins_word && let Some(found) = after_word(bytes, at) {
            return Some(found);
        }
        at += 1;
    }
    None
}

/// Whether a value under a structured key is a secret by that key.
pub(super) fn assigned(key: &str, value: &str) -> Option<SecretKind> {
    judge(role(key.as_bytes(), key.as_bytes())?, value.trim().as_bytes())
}

/// Returns kind and end of a secret with a fixed prefix that begins at `at`.
fn prefixed(bytes: &[u8], at: usize) -> Option<(SecretKind, usize)> {
    let rest = &bytes[at..];
    let before = at.checked_sub(1).map_or(b' ', |before| bytes[before]);
    let body = |prefix: &[u8], least: usize, allowed: fn(u8) -> bool| {
        let body = rest.strip_prefix(prefix)?;
        let len = run(body, allowed);
        (len >= least).then_some(at + prefix.len() + len)
    };
    match rest[0] {
        b'g' => {
            let classic = [b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"];
            let classic = classic.iter().find_map(|prefix| body(*prefix, 36, |b| b.is_ascii_alphanumeric()));
            let end = classic.or_else(|| body(b"github_pat_", 22, is_word))?;
            Some((SecretKind::GithubToken, end))
        }
        b'A' if !before.is_ascii_alphanumeric() => {
            let aws = [b"AKIA", b"ASIA"].iter().find_map(|prefix| body(*prefix, 16, is_upper_or_digit));
            // Exactly twenty characters: a longer run of capitals and digits is some other thing.
            if let Some(end) = aws.filter(|end| end - at == 20 && !bytes.get(*end).copied().is_some_and(is_word)) {
                return Some((SecretKind::AwsAccessKey, end));
            }
            body(b"AIza", 35, is_base64url).map(|end| (SecretKind::GoogleKey, end))
        }
        b'x' => {
            let kind = rest.get(3).filter(|kind| kind.is_ascii_lowercase() && rest.starts_with(b"xox"))?;
            body(&[b'x', b'o', b'x', *kind, b'-'], 10, is_base64url).map(|end| (SecretKind::SlackToken, end))
        }
        b's' | b'r' => {
            let stripe: &[u8] = if rest[0] == b's' { b"sk_live_" } else { b"rk_live_" };
            if let Some(end) = body(stripe, 16, |b| b.is_ascii_alphanumeric()) {
                return Some((SecretKind::StripeLiveKey, end));
            }
            // Where a body could go on, none begins: otherwise a long run of prefixes would be read once for each.
            if is_base64url(before) {
                return None;
            }
            if let Some(end) = body(b"sk-ant-", 20, is_base64url) {
                return Some((SecretKind::AnthropicKey, end));
            }
            // Class names like `sk-folding-cube` are words with hyphens; keys have a long run without one.
            let end = body(b"sk-", 20, is_base64url)?;
            let random = bytes[at + 3..end].split(|b| *b == b'-').any(|part| part.len() >= 20);
            random.then_some((SecretKind::OpenAiKey, end))
        }
        b'e' if !is_base64url(before) => jwt(rest).map(|len| (SecretKind::Jwt, at + len)),
        b'-' => private_key(rest).map(|len| (SecretKind::PrivateKey, at + len)),
        _ => None,
    }
}

/// Returns the length of a JWT: `eyJ` opens a JSON object in base64url.
fn jwt(rest: &[u8]) -> Option<usize> {
    let mut end = 0;
    for (part, least) in [10, 10, 16].into_iter().enumerate() {
        let start = if part == 0 { 0 } else { end + 1 };
        if part == 0 && !rest.starts_with(b"eyJ") || part > 0 && rest.get(end) != Some(&b'.') {
            return None;
        }
        let len = run(&rest[start..], is_base64url);
        if len < least {
            return None;
        }
        end = start + len;
    }
    Some(end)
}

/// Returns the length of a PEM block with a private key, up to its end line or, without one, to the end of the text.
fn private_key(rest: &[u8]) -> Option<usize> {
    /// The longest known label is `OPENSSH PRIVATE KEY`; PGP's is `PGP PRIVATE KEY BLOCK`.
    const LABEL: usize = 40;
    let label = rest.strip_prefix(b"-----BEGIN ")?;
    let label = &label[..position(&label[..label.len().min(LABEL)], b"-----")?];
    position(label, b"PRIVATE KEY")?;
    let footer = [b"-----END ", label, b"-----"].concat();
    Some(position(rest, &footer).map_or(rest.len(), |start| start + footer.len()))
}

/// What a value after a word may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The word names a secret: any random value counts.
    Secret,
    /// The word may name something public as well: only 64 hex digits count.
    Key,
}

/// Judges the word that begins at `at` and what follows it.
fn after_word(bytes: &[u8], at: usize) -> Option<(SecretKind, Range<usize>)> {
    /// How much of a value is judged; the bound keeps a chain of words and signs linear.
    const JUDGED: usize = 128;
    let end = at + run(&bytes[at..], is_word);
    let role = role(&bytes[..end], &bytes[at..end])?;
    let (start, separated) = value_start(bytes, end);
    let kind = judge(if separated { role } else { Role::Key }, value(&bytes[start..bytes.len().min(start + JUDGED)]))?;
    Some((kind, start..start + value(&bytes[start..]).len()))
}

/// Returns the value at the beginning of `bytes`, without the punctuation of a sentence at its end.
fn value(bytes: &[u8]) -> &[u8] {
    let value = &bytes[..run(bytes, |b| !b.is_ascii_whitespace() && !b"\"'`,;<>()[]{}|".contains(&b))];
    &value[..value.iter().rposition(|b| !b".:!?".contains(b)).map_or(0, |last| last + 1)]
}

/// Returns what a word announces, if anything. `text` ends with the word, which has no hyphen; names may have one.
fn role(text: &[u8], word: &[u8]) -> Option<Role> {
    const SECRETS: [&[u8]; 9] =
        [b"password", b"passwd", b"passphrase", b"secret", b"token", b"api_key", b"api-key", b"apikey", b"access_key"];
    let ends =
        |suffix: &[u8]| text.len() >= suffix.len() && text[text.len() - suffix.len()..].eq_ignore_ascii_case(suffix);
    // The last letters decide first: almost every word of a text is turned away here.
    match word.last()?.to_ascii_lowercase() {
        b'd' | b'e' | b't' | b'n' | b'y' | b'r' => {}
        _ => return None,
    }
    let public = word.len() >= 6 && word[..3].eq_ignore_ascii_case(b"pub");
    if SECRETS.iter().any(|suffix| ends(suffix)) {
        Some(Role::Secret)
    } else if (ends(b"key") || ends(b"bearer")) && !public {
        Some(Role::Key)
    } else {
        None
    }
}

/// Returns where the value after a word begins, and whether `=` or `:` stands between.
fn value_start(bytes: &[u8], end: usize) -> (usize, bool) {
    /// Quote, blanks, separator, blanks, quote; more than this between word and value is prose.
    const BETWEEN: usize = 8;
    let len = run(&bytes[end..bytes.len().min(end + BETWEEN)], |b| b" \t\"'`=:>*".contains(&b));
    (end + len, bytes[end..end + len].iter().any(|b| matches!(b, b'=' | b':')))
}

/// Judges a value by the role of the word before it.
fn judge(role: Role, value: &[u8]) -> Option<SecretKind> {
    if value.len() == 64 && value.iter().all(u8::is_ascii_hexdigit) {
        return Some(SecretKind::CtxnodeToken);
    }
    (role == Role::Secret && looks_random(value) && !is_placeholder(value)).then_some(SecretKind::Assignment)
}

/// Whether a value has 12 or more characters of high entropy.
fn looks_random(value: &[u8]) -> bool {
    /// Bits per character. Twelve different ones have 3.6; a repeated word or a date is below 3.
    const ENTROPY: f64 = 3.0;
    if value.len() < 12 || !value.is_ascii() {
        return false;
    }
    let letters = value.iter().any(u8::is_ascii_alphabetic);
    // Identifiers and words have neither digits nor signs; a random value of this length nearly always has.
    let other = value.iter().any(|b| b.is_ascii_digit() || b"!@#$%^&*+=~?".contains(b));
    letters && other && entropy(value) >= ENTROPY
}

/// Returns the Shannon entropy in bits per byte.
fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    value.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let total = value.len() as f64;
    let share = |count: u32| f64::from(count) / total;
    counts.iter().filter(|count| **count > 0).map(|count| -share(*count) * share(*count).log2()).sum()
}

/// Whether a value stands for another one: a variable, a path, an address, a hash with its name, an instruction.
fn is_placeholder(value: &[u8]) -> bool {
    const WORDS: [&str; 14] = [
        "example",
        "placeholder",
        "changeme",
        "change-me",
        "change_me",
        "your",
        "xxx",
        "dummy",
        "redacted",
        "sample",
        "replace",
        "insert",
        "***",
        "...",
    ];
    const BEGINNINGS: [&str; 11] =
        ["$", "%", "/", "./", "~", "http", "sha256:", "sha256-", "process.env", "env.", "op://"];
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    WORDS.iter().any(|word| text.contains(word)) || BEGINNINGS.iter().any(|start| text.starts_with(start))
}

fn run(bytes: &[u8], allowed: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| !allowed(*byte)).unwrap_or(bytes.len())
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_base64url(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

fn is_upper_or_digit(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}
