//! Lengths and cuts of text, and the checks of single text fields that the rules share.
//!
//! Characters are Unicode scalar values; bytes are UTF-8 bytes. No cut ever splits a character.

use crate::Invalid;

/// Returns the number of characters.
#[must_use]
pub fn chars(text: &str) -> usize {
    text.chars().count()
}

/// Returns the longest beginning of at most `max` characters.
#[must_use]
pub fn cut(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}

/// Returns the text, cut to `max` characters with an ellipsis as the last of them when something was left out.
#[must_use]
pub fn ellipsis(text: &str, max: usize) -> String {
    if text.char_indices().nth(max).is_none() {
        return text.to_owned();
    }
    format!("{}…", cut(text, max.saturating_sub(1)))
}

/// Notes a field that is not one line of 1 to `max` characters. Control characters would break lists and index keys.
pub fn require_line(invalid: &mut Invalid, field: &str, text: &str, max: usize) {
    require_chars(invalid, field, text, max);
    invalid.require(!text.chars().any(char::is_control), field, "must not hold control characters");
}

/// Notes a field that does not have 1 to `max` characters. NUL is refused: it separates parts of index keys.
pub fn require_chars(invalid: &mut Invalid, field: &str, text: &str, max: usize) {
    if text.trim().is_empty() {
        invalid.add(field, "must not be empty");
    } else if text.len() > max && chars(text) > max {
        invalid.add(field, format!("has {} characters; at most {max} are allowed", chars(text)));
    }
    invalid.require(!text.contains('\0'), field, "must not hold NUL characters");
}

/// Whether a text is a commit id: 7 to 64 hex digits.
#[must_use]
pub fn is_commit(text: &str) -> bool {
    use super::limits::{COMMIT_MAX_HEX, COMMIT_MIN_HEX};
    (COMMIT_MIN_HEX..=COMMIT_MAX_HEX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns at most three of `known` that look like `wanted`, nearest first: for "did you mean" hints.
#[must_use]
pub fn near(wanted: &str, known: &[&str]) -> Vec<String> {
    const SHOWN: usize = 3;
    let wanted = wanted.to_lowercase();
    // One slip in three characters is a typing error; more is another word.
    let allowed = (chars(&wanted) / 3).max(1);
    let mut hits: Vec<(usize, &str)> = known
        .iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let distance = strsim::osa_distance(&wanted, &lower);
            let begins = !wanted.is_empty() && (lower.starts_with(&wanted) || wanted.starts_with(&lower));
            (distance <= allowed || begins).then_some((distance, *name))
        })
        .collect();
    hits.sort_unstable();
    hits.dedup();
    hits.into_iter().take(SHOWN).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cut_is_a_beginning_of_the_asked_length(text in ".{0,40}", max in 0_usize..50) {
            prop_assert!(text.starts_with(cut(&text, max)));
            prop_assert_eq!(chars(cut(&text, max)), chars(&text).min(max));
            prop_assert!(chars(&ellipsis(&text, max.max(1))) <= max.max(1));
        }
    }

    #[test]
    fn s_20_a_misspelt_code_finds_its_neighbour() {
        assert_eq!(near("alpa", &["alpha", "beta", "gamma"]), ["alpha"]);
        assert_eq!(near("ALPHA", &["alpha"]), ["alpha"]);
        assert!(near("zeta-nine", &["alpha", "beta"]).is_empty());
        assert!(near("", &["alpha"]).is_empty());
    }

    #[test]
    fn only_seven_to_sixty_four_hex_digits_are_a_commit() {
        assert!(is_commit("abc1234") && is_commit(&"F".repeat(64)));
        assert!(!is_commit("abc123") && !is_commit(&"f".repeat(65)) && !is_commit("abc123g"));
    }
}
