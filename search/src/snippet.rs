//! The piece of a text that shows why it was found: the part of it with the most of what was asked for.
//!
//! The pieces and their scores are those of tantivy's own generator. That one finds the stem of every word of the text,
//! which was two fifths of the time of a search; here only words are looked at that begin like a word of the query.
//! The stemmer never changes the first letter of a word.

use std::collections::BTreeMap;
use std::ops::Range;

use tantivy::query::Query;
use tantivy::schema::Field;
use tantivy::tokenizer::{TextAnalyzer, TokenStream as _, Tokenizer as _};
use tantivy::{Score, Searcher, Term};

use crate::SearchError;
use crate::tokens::{Words, stemmed};

/// Makes snippets of the texts that one query found.
pub(crate) struct Snippets {
    /// The stems of the query and how rare each is.
    stems: BTreeMap<String, Score>,
    /// Which ASCII letters and digits stems begin with.
    first: [bool; 128],
    analyzer: TextAnalyzer,
    max_bytes: usize,
}

/// A piece of a text, and where in it the matches are.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Snippet {
    pub(crate) range: Range<usize>,
    pub(crate) marks: Vec<Range<usize>>,
    score: Score,
}

impl Snippets {
    pub(crate) fn new(
        searcher: &Searcher,
        query: &dyn Query,
        field: Field,
        max_bytes: usize,
    ) -> Result<Self, SearchError> {
        let mut terms: Vec<Term> = Vec::new();
        query.query_terms(&mut |term, _| {
            if term.field() == field {
                terms.push(term.clone());
            }
        });
        let mut stems = BTreeMap::new();
        for term in terms {
            let documents = searcher.doc_freq(&term)?;
            if let Some(stem) = term.value().as_str().filter(|_| documents > 0) {
                stems.insert(stem.to_owned(), 1.0 / (1.0 + documents as Score));
            }
        }
        Ok(Self::of_stems(stems, max_bytes))
    }

    fn of_stems(stems: BTreeMap<String, Score>, max_bytes: usize) -> Self {
        let mut first = [false; 128];
        for letter in stems.keys().filter_map(|stem| stem.bytes().next()) {
            if let Some(slot) = first.get_mut(usize::from(letter)) {
                *slot = true;
            }
        }
        Self { stems, first, analyzer: stemmed(), max_bytes }
    }

    /// Returns the piece with the highest score, the first one of equals; `None` when nothing of the query is in the text.
    pub(crate) fn best(&mut self, text: &str) -> Option<Snippet> {
        let mut best: Option<Snippet> = None;
        let mut piece = Snippet::default();
        let mut words = Words;
        let mut stream = words.token_stream(text);
        let mut keep = |piece: Snippet| {
            if piece.score > best.as_ref().map_or(0.0, |best| best.score) {
                best = Some(piece);
            }
        };
        while stream.advance() {
            let word = stream.token();
            let place = word.offset_from..word.offset_to;
            if place.end - piece.range.start > self.max_bytes {
                let next = Snippet { range: place.start..place.start, ..Snippet::default() };
                keep(std::mem::replace(&mut piece, next));
            }
            piece.range.end = place.end;
            if let Some(score) = self.score(&word.text) {
                piece.score += score;
                piece.marks.push(place);
            }
        }
        keep(piece);
        best
    }

    fn score(&mut self, word: &str) -> Option<Score> {
        let letter = word.bytes().next()?.to_ascii_lowercase();
        // Letters beyond ASCII may fold into any other.
        if self.first.get(usize::from(letter)) == Some(&false) {
            return None;
        }
        let mut stream = self.analyzer.token_stream(word);
        let stem = if stream.advance() { stream.token().text.as_str() } else { return None };
        self.stems.get(stem).copied()
    }
}

#[cfg(test)]
mod unit {
    use proptest::prelude::*;
    use tantivy::schema::Schema;
    use tantivy::snippet::SnippetGenerator;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Words are found in other forms and cases, with accents, in the piece that tantivy chooses.
        #[test]
        fn pieces_and_marks_are_those_of_tantivy(
            text in "((run|running|runs|Dying|die|dies|Éclair|eclairs|configuration|x1|搜索|skies|sky|idly)[ .,_-]{1,2}){0,60}",
            max in 10..80_usize,
        ) {
            let stems = [("run", 0.1), ("die", 0.3), ("eclair", 0.2), ("sky", 0.5), ("搜", 0.4), ("idl", 0.05)];
            let stems: BTreeMap<String, Score> = stems.map(|(stem, score)| (stem.to_owned(), score)).into();
            let mut builder = Schema::builder();
            let field = builder.add_text_field("body", tantivy::schema::TEXT);
            let expected = SnippetGenerator::new(stems.clone(), stemmed(), field, max).snippet(&text);
            let found = Snippets::of_stems(stems, max).best(&text);
            prop_assert_eq!(found.is_none(), expected.is_empty());
            if let Some(found) = found {
                prop_assert_eq!(&found.range, &expected.fragment_range());
                let from = found.range.start;
                let marks: Vec<_> = found.marks.iter().map(|mark| mark.start - from..mark.end - from).collect();
                prop_assert_eq!(marks.as_slice(), expected.highlighted());
            }
        }
    }
}
