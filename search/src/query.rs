//! The query language: words joined by AND, `"a phrase"`, `word*` for a prefix, `word~` for a near spelling.
//!
//! Every other character is literal: it separates words and means nothing, so no text is an error but one without any
//! word in it.

use thiserror::Error;

/// The longest query.
pub const MAX_QUERY_CHARS: usize = 500;

/// One part of a query; all parts must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clause {
    /// A word in any of its forms.
    Word(String),
    /// Words in this order, next to each other.
    Phrase(String),
    /// A word that begins so.
    Prefix(String),
    /// A word that differs in at most one letter.
    Fuzzy(String),
}

/// A text that cannot be searched for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QueryError {
    /// There is no word in it.
    #[error("nothing to search for at position {position}: a query needs a word")]
    Empty {
        /// Where the first character stands that should have been a word, from 0.
        position: usize,
    },
    /// It is too long.
    #[error("the query has {chars} characters, at most {MAX_QUERY_CHARS} are allowed")]
    TooLong {
        /// Its characters.
        chars: usize,
    },
}

/// Reads a query.
///
/// # Errors
/// When it holds no word or is too long.
pub fn parse(text: &str) -> Result<Vec<Clause>, QueryError> {
    let chars = text.chars().count();
    if chars > MAX_QUERY_CHARS {
        return Err(QueryError::TooLong { chars });
    }
    let mut clauses = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if next.is_whitespace() {
            rest = &rest[next.len_utf8()..];
        } else if let Some((phrase, tail)) = rest.strip_prefix('"').and_then(|quoted| quoted.split_once('"')) {
            clauses.extend(phrase_clause(phrase));
            rest = tail;
        } else {
            let end = rest.find(|c: char| c.is_whitespace()).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            clauses.extend(word_clause(word));
            rest = tail;
        }
    }
    if clauses.is_empty() {
        let position = text.chars().position(|c| !c.is_whitespace()).unwrap_or(0);
        return Err(QueryError::Empty { position });
    }
    Ok(clauses)
}

fn has_word(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

fn phrase_clause(phrase: &str) -> Option<Clause> {
    has_word(phrase).then(|| Clause::Phrase(phrase.to_owned()))
}

fn word_clause(word: &str) -> Option<Clause> {
    if !has_word(word) {
        return None;
    }
    let plain = |text: &str| text.chars().all(char::is_alphanumeric);
    let clause = match (word.strip_suffix('*'), word.strip_suffix('~')) {
        // Only a plain word has a beginning or a near spelling; `foo.bar*` is the words foo and bar.
        (Some(stem), _) if plain(stem) => Clause::Prefix(stem.to_owned()),
        (_, Some(stem)) if plain(stem) => Clause::Fuzzy(stem.to_owned()),
        // Several tokens written together, such as `foo_bar` or `a/b.md`, stand next to each other in the text too.
        _ if plain(word) => Clause::Word(word.to_owned()),
        _ => Clause::Phrase(word.to_owned()),
    };
    Some(clause)
}

#[cfg(test)]
mod unit {
    use proptest::prelude::*;

    use super::*;

    /// N-15: words, phrase, prefix; punctuation is literal and no error.
    #[test]
    fn n_15_the_language_has_words_phrases_and_prefixes() {
        let word = |text: &str| Clause::Word(text.to_owned());
        assert_eq!(parse("foo bar"), Ok(vec![word("foo"), word("bar")]));
        assert_eq!(parse(r#""foo bar" x"#), Ok(vec![Clause::Phrase("foo bar".to_owned()), word("x")]));
        assert_eq!(parse("fo* ba~"), Ok(vec![Clause::Prefix("fo".to_owned()), Clause::Fuzzy("ba".to_owned())]));
        assert_eq!(
            parse("foo) OR (1"),
            Ok(vec![Clause::Phrase("foo)".to_owned()), word("OR"), Clause::Phrase("(1".to_owned())])
        );
        assert_eq!(parse(r#"open "quote"#), Ok(vec![word("open"), Clause::Phrase("\"quote".to_owned())]));
    }

    #[test]
    fn a_query_without_a_word_says_where() {
        assert_eq!(parse("   ** ~"), Err(QueryError::Empty { position: 3 }));
        assert_eq!(parse(""), Err(QueryError::Empty { position: 0 }));
        assert!(matches!(parse(&"a".repeat(501)), Err(QueryError::TooLong { chars: 501 })));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            if let Ok(clauses) = parse(&text) {
                prop_assert!(!clauses.is_empty());
            }
        }
    }
}
