//! From text to tokens: runs of letters and digits, and each character of scripts that write without spaces.

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer,
};

/// The analyzer of titles and bodies: lower case, without accents, by stem.
pub(crate) const STEMMED: &str = "ctx_stem";
/// The same without stems, for prefixes and near spellings.
pub(crate) const EXACT: &str = "ctx_exact";

/// Longer tokens are hashes and encoded data, which nobody searches by parts.
const LONGEST_TOKEN: usize = 80;

pub(crate) fn stemmed() -> TextAnalyzer {
    TextAnalyzer::builder(Words)
        .filter(RemoveLongFilter::limit(LONGEST_TOKEN))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .filter(Stemmer::new(Language::English))
        .build()
}

pub(crate) fn exact() -> TextAnalyzer {
    TextAnalyzer::builder(Words)
        .filter(RemoveLongFilter::limit(LONGEST_TOKEN))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .build()
}

/// Returns the tokens of a text.
pub(crate) fn tokens(analyzer: &mut TextAnalyzer, text: &str) -> Vec<String> {
    let mut stream = analyzer.token_stream(text);
    let mut out = Vec::new();
    while stream.advance() {
        out.push(stream.token().text.clone());
    }
    out
}

/// Whether a character is a word of its own, because its script writes words without spaces.
fn stands_alone(c: char) -> bool {
    matches!(c as u32, 0x2E80..=0x2FDF | 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Words;

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        WordStream { text, at: 0, token: Token::default() }
    }
}

pub(crate) struct WordStream<'a> {
    text: &'a str,
    at: usize,
    token: Token,
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some(start) = self.text[self.at..].find(char::is_alphanumeric).map(|offset| self.at + offset) else {
            self.at = self.text.len();
            return false;
        };
        let rest = &self.text[start..];
        let first = rest.chars().next().map_or(1, char::len_utf8);
        let end = if rest.chars().next().is_some_and(stands_alone) {
            start + first
        } else {
            let stop = rest.find(|c: char| !c.is_alphanumeric() || stands_alone(c));
            stop.map_or(self.text.len(), |offset| start + offset)
        };
        self.at = end;
        self.token.offset_from = start;
        self.token.offset_to = end;
        self.token.position = self.token.position.wrapping_add(1);
        self.token.text.clear();
        self.token.text.push_str(&self.text[start..end]);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn words_accents_stems_and_chinese() {
        assert_eq!(tokens(&mut exact(), "Café foo_bar.baz HTTP2"), ["cafe", "foo", "bar", "baz", "http2"]);
        assert_eq!(tokens(&mut stemmed(), "running configurations"), ["run", "configur"]);
        assert_eq!(tokens(&mut exact(), "搜索abc引擎"), ["搜", "索", "abc", "引", "擎"]);
    }
}
