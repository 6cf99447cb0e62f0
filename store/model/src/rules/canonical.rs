//! Canonical JSON (RFC 8785): one text, one hash and one size for equal values.
//!
//! [`parse`] is the strict reader in front of it. What two readers may understand differently is refused instead of
//! guessed: an object with one key twice, and an integer that a double cannot hold.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The greatest magnitude of an integer that every JSON reader sees alike: 2^53.
pub const MAX_INTEGER: u64 = 1 << 53;

/// A value in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    /// The canonical text.
    pub text: String,
    /// SHA-256 of the text's bytes, in lower-case hex.
    pub hash: String,
}

impl Canonical {
    /// Makes the canonical form of a value.
    ///
    /// # Errors
    /// When it holds an integer beyond 2^53.
    pub fn of(value: &Value) -> Result<Self, CanonicalError> {
        check_numbers(value)?;
        let text = serde_json_canonicalizer::to_string(value).map_err(|_| CanonicalError::Number)?;
        let hash = sha256_hex(text.as_bytes());
        Ok(Self { text, hash })
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.text.len()
    }
}

/// Why a text or a value has no canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CanonicalError {
    /// The text is not JSON.
    #[error("not valid JSON at line {line}, column {column}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// An object has one key twice.
    #[error("an object has one key twice, near line {line}, column {column}")]
    DuplicateKey {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A number is an integer beyond 2^53, or not finite.
    #[error("a number is not finite or an integer beyond 2^53")]
    Number,
}

/// Reads a JSON text strictly.
///
/// # Errors
/// When it is no JSON, has a duplicate key, or has a number without a canonical form.
pub fn parse(text: &str) -> Result<Value, CanonicalError> {
    let Strict(value) = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        // serde_json carries a visitor's error as text only.
        if error.is_data() && error.to_string().starts_with(DUPLICATE) {
            CanonicalError::DuplicateKey { line, column }
        } else {
            CanonicalError::Syntax { line, column }
        }
    })?;
    check_numbers(&value)?;
    if has_long_integer(text) { Err(CanonicalError::Number) } else { Ok(value) }
}

/// Returns the SHA-256 of bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Returns SHA-256 in lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    sha256(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn check_numbers(value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if magnitude.is_some_and(|integer| integer > MAX_INTEGER) { Err(CanonicalError::Number) } else { Ok(()) }
        }
        Value::Array(items) => items.iter().try_for_each(check_numbers),
        Value::Object(entries) => entries.values().try_for_each(check_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

/// Whether a valid JSON text has an integer of more than 19 digits. Such a one is read as a double, which
/// [`check_numbers`] can no longer tell from a number that was written as one.
fn has_long_integer(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at),
            b'0'..=b'9' => {
                let rest = &bytes[at..];
                let end = rest.iter().position(|b| !matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
                let token = &rest[..end.unwrap_or(rest.len())];
                if token.len() > 19 && token.iter().all(u8::is_ascii_digit) {
                    return true;
                }
                at += token.len();
            }
            _ => at += 1,
        }
    }
    false
}

/// Returns the position after the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

const DUPLICATE: &str = "duplicate key";

/// A value whose reading refuses duplicate keys.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let Strict(value) = map.next_value()?;
            if entries.insert(key, value).is_some() {
                return Err(de::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, canonical: &str, size: usize, hash: &str) {
        let made = Canonical::of(&parse(text).unwrap()).unwrap();
        assert_eq!((made.text.as_str(), made.size(), made.hash.as_str()), (canonical, size, hash));
    }

    #[test]
    fn h_04_key_order_and_white_space_do_not_matter() {
        check("{ }", "{}", 2, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        check(
            "{\"b\":1,\n\"a\":2}",
            r#"{"a":2,"b":1}"#,
            13,
            "d3626ac30a87e6f7a6428233b3c68299976865fa5508e4267c5415c76af7a772",
        );
        check(
            r#"{"z":{"y":null,"x":true},"a":[3,1,2]}"#,
            r#"{"a":[3,1,2],"z":{"x":true,"y":null}}"#,
            37,
            "116fde7c0aa5f3c4d1b86f90eaa3f43f2ee7bbd10fbcddc1488b64334ec8e98a",
        );
    }

    #[test]
    fn h_05_numbers_print_as_ecmascript_does() {
        check(
            r#"{"n":1e21,"m":1.0,"k":0.000001,"e":1e-7,"z":-0}"#,
            r#"{"e":1e-7,"k":0.000001,"m":1,"n":1e+21,"z":0}"#,
            45,
            "2ea66b7aef09cdf31961be7fa675194e6c16992380378e02593fc2959ed64b9a",
        );
    }

    #[test]
    fn h_06_keys_sort_by_utf16_code_units() {
        check(
            "{\"\u{20ac}\":\"Euro\",\"\\r\":\"CR\",\"\u{fb33}\":\"dalet\",\"1\":\"one\",\"\u{1f600}\":\"smile\",\
             \"\u{80}\":\"ctl\",\"\u{f6}\":\"o\"}",
            "{\"\\r\":\"CR\",\"1\":\"one\",\"\u{80}\":\"ctl\",\"\u{f6}\":\"o\",\"\u{20ac}\":\"Euro\",\
             \"\u{1f600}\":\"smile\",\"\u{fb33}\":\"dalet\"}",
            83,
            "a665372450063b93923e9c77f9ea63950823ee6ea0c20508d7ebae6a62e87ba0",
        );
    }

    #[test]
    fn h_07_lists_keep_their_order() {
        check(
            r#"{"accomplished":["a"],"in_progress":[],"blocked":[],"next_steps":["b"]}"#,
            r#"{"accomplished":["a"],"blocked":[],"in_progress":[],"next_steps":["b"]}"#,
            71,
            "0c50c48c8642a6f035a84e01880a48a99f091769ccdbbf3abfc22fa1b62df041",
        );
    }

    #[test]
    fn h_07_duplicate_keys_and_unprintable_numbers_are_refused() {
        assert!(matches!(parse(r#"{"a":{"b":1,"b":1}}"#), Err(CanonicalError::DuplicateKey { line: 1, .. })));
        assert!(matches!(parse(r#"{"a":"\u0062","\u0061":1}"#), Err(CanonicalError::DuplicateKey { .. })));
        for syntax in [r#"{"a":1e999}"#, r#"{"a":NaN}"#, "", "{", "[1] 2", r#"{"a":undefined}"#] {
            assert!(matches!(parse(syntax), Err(CanonicalError::Syntax { .. })), "{syntax}");
        }
        for number in ["9007199254740993", "-9007199254740993", "18446744073709551616", "[100000000000000000000000]"] {
            assert_eq!(parse(number), Err(CanonicalError::Number), "{number}");
        }
        for fine in ["9007199254740992", "-9007199254740992", "1e30", r#""123456789012345678901234567890""#] {
            assert!(parse(fine).is_ok(), "{fine}");
        }
        assert_eq!(Canonical::of(&Value::from(u64::MAX)), Err(CanonicalError::Number));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(".{0,3}", inner, 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_canonical_text_is_its_own_canonical_text(value in json()) {
            let once = Canonical::of(&value).unwrap();
            // A large double prints as a long integer, which the strict reader refuses from callers; read it loosely.
            let twice = Canonical::of(&serde_json::from_str(&once.text).unwrap());
            prop_assume!(twice.is_ok());
            prop_assert_eq!(once, twice.unwrap());
        }

        #[test]
        fn the_strict_reader_agrees_with_the_loose_one(value in json()) {
            let text = value.to_string();
            if let Ok(strict) = parse(&text) {
                prop_assert_eq!(strict, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
