//! Path globs: which paths one matches, and whether two can match one path.
//!
//! `?` is one character and `*` any number of them, both without `/`. A whole part `**` is any number of parts, and at
//! the end at least one; elsewhere `**` is `*`. Overlap is decided exactly, by walking the product of both globs'
//! automata and looking for a valid path that ends in an accepting state of each.

use std::collections::HashSet;

/// A glob, ready to be asked.
#[derive(Clone, Debug)]
pub struct Glob {
    states: Vec<State>,
}

/// A state: where it goes without reading, and what it reads to go elsewhere.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    skip: Option<usize>,
    edges: [Option<(Class, usize)>; 2],
}

/// The characters that an edge reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Slash,
    Char(char),
    NotSlash,
    Any,
}

impl Class {
    fn has_slash(self) -> bool {
        matches!(self, Self::Slash | Self::Any)
    }

    /// Whether some character other than `/` is in both.
    fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::Slash, _) | (_, Self::Slash) => false,
            (Self::Char(a), Self::Char(b)) => a == b,
            _ => true,
        }
    }
}

impl Glob {
    /// Reads a glob. Every text is one; whether it makes sense as a claim is checked elsewhere.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let mut glob = Self { states: Vec::new() };
        let mut parts = pattern.split('/').peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            match (part, last) {
                ("**", false) => glob.any_parts(),
                ("**", true) => glob.rest(),
                _ => {
                    glob.part(part);
                    if !last {
                        glob.read(Class::Slash);
                    }
                }
            }
        }
        glob.states.push(State::default());
        glob
    }

    /// Makes a glob that matches exactly one path, whatever characters it has.
    #[must_use]
    pub fn literal(path: &str) -> Self {
        let mut glob = Self { states: Vec::new() };
        path.chars().for_each(|c| glob.read(if c == '/' { Class::Slash } else { Class::Char(c) }));
        glob.states.push(State::default());
        glob
    }

    /// Whether the glob matches a path.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.overlaps(&Self::literal(path))
    }

    /// Whether some path matches both globs. A path has no empty parts.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        // The third part says that a part of the path begins here, where neither `/` nor the end may follow.
        let mut open = vec![(0, 0, true)];
        let mut seen = HashSet::from([(0, 0, true)]);
        while let Some((a, b, begins)) = open.pop() {
            let (left, right) = (&self.states[a], &other.states[b]);
            if a + 1 == self.states.len() && b + 1 == other.states.len() && !begins {
                return true;
            }
            let mut visit = |next| {
                if seen.insert(next) {
                    open.push(next);
                }
            };
            left.skip.into_iter().for_each(|a| visit((a, b, begins)));
            right.skip.into_iter().for_each(|b| visit((a, b, begins)));
            for (one, a) in left.edges.into_iter().flatten() {
                for (two, b) in right.edges.into_iter().flatten() {
                    if !begins && one.has_slash() && two.has_slash() {
                        visit((a, b, true));
                    }
                    if one.meets(two) {
                        visit((a, b, false));
                    }
                }
            }
        }
        false
    }

    fn part(&mut self, part: &str) {
        let mut after_star = false;
        for c in part.chars() {
            match c {
                '*' if after_star => {}
                '*' => {
                    let here = self.states.len();
                    self.states.push(State { skip: Some(here + 1), edges: [Some((Class::NotSlash, here)), None] });
                }
                '?' => self.read(Class::NotSlash),
                c => self.read(Class::Char(c)),
            }
            after_star = c == '*';
        }
    }

    fn read(&mut self, class: Class) {
        let next = self.states.len() + 1;
        self.states.push(State { skip: None, edges: [Some((class, next)), None] });
    }

    /// Any number of parts, each with the `/` after it.
    fn any_parts(&mut self) {
        let (outside, inside) = (self.states.len(), self.states.len() + 1);
        self.states.push(State { skip: Some(inside + 1), edges: [Some((Class::NotSlash, inside)), None] });
        self.states.push(State { skip: None, edges: [Some((Class::NotSlash, inside)), Some((Class::Slash, outside))] });
    }

    /// Everything up to the end, and at least one character.
    fn rest(&mut self) {
        self.read(Class::Any);
        let here = self.states.len();
        self.states.push(State { skip: Some(here + 1), edges: [Some((Class::Any, here)), None] });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn overlap(a: &str, b: &str) -> bool {
        let (left, right) = (Glob::new(a), Glob::new(b));
        assert_eq!(left.overlaps(&right), right.overlaps(&left), "{a} {b}");
        left.overlaps(&right)
    }

    #[test]
    fn w_05_globs_overlap_when_some_path_matches_both() {
        for (a, b) in [
            ("src/auth/**", "src/*/login.ts"),
            ("**", "a"),
            ("**/x.rs", "x.rs"),
            ("a/**/b", "a/b"),
            ("a/**/b", "a/x/y/b"),
            ("*.rs", "main.*"),
            ("a?c", "abc"),
            ("src/**", "src/a/b/c.rs"),
            ("**/test/**", "src/test/x"),
            ("a**b", "axxb"),
        ] {
            assert!(overlap(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("src/auth/**", "docs/**"),
            ("src/*", "src/a/b"),
            ("*.rs", "*.ts"),
            ("src/**", "src"),
            ("a?c", "ac"),
            ("a**b", "a/b"),
            ("*/x", "a/b/x"),
            ("**/a/b", "a"),
        ] {
            assert!(!overlap(a, b), "{a} {b}");
        }
    }

    #[test]
    fn w_10_a_path_with_glob_characters_is_matched_as_it_is() {
        assert!(Glob::new("app/*/page.tsx").matches("app/[id]/page.tsx"));
        assert!(Glob::new("src/**").matches("src/a*b.rs"));
        assert!(!Glob::new("src/ab").matches("src/a?"));
        assert!(!Glob::literal("src/a*").matches("src/ab"));
    }

    #[test]
    fn two_globs_of_the_greatest_length_are_decided() {
        let a = "a*".repeat(100);
        let b = format!("{}b", "*a".repeat(99));
        assert!(!Glob::new(&a[..199]).overlaps(&Glob::new("b")));
        assert!(overlap(&a, &b));
    }

    /// The meaning of a glob, written a second time and without an automaton.
    fn reference(pattern: &[&str], path: &[&str]) -> bool {
        match pattern {
            [] => path.is_empty(),
            ["**"] => !path.is_empty(),
            ["**", rest @ ..] => (0..=path.len()).any(|skipped| reference(rest, &path[skipped..])),
            [part, rest @ ..] => {
                path.first().is_some_and(|first| wild(part.as_bytes(), first.as_bytes())) && reference(rest, &path[1..])
            }
        }
    }

    fn wild(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|taken| wild(rest, &text[taken..])),
            [b'?', rest @ ..] => !text.is_empty() && wild(rest, &text[1..]),
            [c, rest @ ..] => text.first() == Some(c) && wild(rest, &text[1..]),
        }
    }

    fn split(text: &str) -> Vec<&str> {
        text.split('/').collect()
    }

    /// All paths of up to five parts of one or two letters: two globs of three short parts that overlap do so in one of
    /// them, since each part of a witness is asked for by a part of a glob.
    fn paths() -> Vec<String> {
        let parts = ["a", "b", "aa", "ab", "ba", "bb"];
        let mut all: Vec<String> = parts.map(str::to_owned).to_vec();
        let mut from = 0;
        for _ in 1..5 {
            let to = all.len();
            for index in from..to {
                all.extend(parts.map(|part| format!("{}/{part}", all[index])));
            }
            from = to;
        }
        all
    }

    fn pattern() -> impl Strategy<Value = String> {
        let part = prop_oneof![2 => Just("**".to_owned()), 5 => "[ab*?]{1,2}"];
        proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn w_05_overlap_agrees_with_trying_every_path(a in pattern(), b in pattern()) {
            let witness = paths().into_iter().find(|path| reference(&split(&a), &split(path)) && reference(&split(&b), &split(path)));
            prop_assert_eq!(overlap(&a, &b), witness.is_some(), "{:?}", witness);
        }

        #[test]
        fn a_glob_matches_what_its_meaning_says(glob in pattern(), path in "[ab]{1,2}(/[ab]{1,2}){0,3}") {
            prop_assert_eq!(Glob::new(&glob).matches(&path), reference(&split(&glob), &split(&path)));
        }
    }
}
