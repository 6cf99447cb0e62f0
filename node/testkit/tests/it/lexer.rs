//! Rust text with comments and the insides of literals blanked, so that a rule about code does not fire on prose.
//!
//! Not a parser: it knows comments, string and character literals, and the braces of `#[cfg(test)]` items. Lines and
//! columns stay what they were.

/// Returns `text` with every character of a comment or of a literal's inside replaced by a space. Line breaks stay.
pub(crate) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out: Vec<char> = Vec::with_capacity(chars.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => block_comment_end(&chars, at),
            '"' => string_end(&chars, at + 1),
            'r' if !follows_word(&chars, at) => raw_string_end(&chars, at).unwrap_or(at),
            '\'' => char_literal_end(&chars, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out.into_iter().collect()
}

fn follows_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() && chars[at - 1] != 'b' || chars[at - 1] == '_')
}

fn line_end(chars: &[char], at: usize) -> usize {
    (at..chars.len()).find(|&index| chars[index] == '\n').unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut index = at;
    while index < chars.len() {
        match (chars[index], chars.get(index + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                index += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                index += 2;
                if depth == 0 {
                    return index;
                }
            }
            _ => index += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes = |&index: &usize| {
        chars[index] == '"' && chars[index + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    Some((open + 1..chars.len()).find(closes).map_or(chars.len(), |index| index + 1 + hashes))
}

fn char_literal_end(chars: &[char], at: usize) -> Option<usize> {
    match (chars.get(at + 1)?, chars.get(at + 2)) {
        ('\\', _) => (at + 3..chars.len()).find(|&index| chars[index] == '\'').map(|index| index + 1),
        (_, Some('\'')) => Some(at + 3),
        // A lifetime.
        _ => None,
    }
}

/// Returns code (as of [`code_only`]) without the items under `#[cfg(test)]`.
pub(crate) fn without_test_items(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        let (before, item) = rest.split_at(start);
        out.push_str(before);
        let end = item_end(item);
        out.extend(item[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &item[end..];
    }
    out.push_str(rest);
    out
}

/// Returns where an item ends: after its `;`, or after the brace that closes its body.
fn item_end(item: &str) -> usize {
    let mut depth = 0_usize;
    for (index, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return index + 1,
            '}' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => return index + 1,
            _ => {}
        }
    }
    item.len()
}

/// Returns the lines of `code` that contain `pattern` where it does not continue a longer word, counted from 1.
pub(crate) fn lines_with<'a>(code: &'a str, pattern: &'a str) -> impl Iterator<Item = usize> + 'a {
    let starts_word = |line: &str, at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let needs_start = pattern.starts_with(char::is_alphanumeric);
    let hit = move |line: &str| line.match_indices(pattern).any(|(at, _)| !needs_start || starts_word(line, at));
    code.lines().enumerate().filter(move |(_, line)| hit(line)).map(|(index, _)| index + 1)
}

#[test]
fn comments_and_literals_are_blanked_and_code_stays() {
    let check = |text: &str, code: &str| assert_eq!(code_only(text), code, "{text}");
    check("a // b\nc", "a     \nc");
    check("a /* b /* c */ d */ e", "a                   e");
    check(r#"f("x \" y", z)"#, "f(        , z)");
    check(r##"f(r#"x " y"#, z)"##, "f(          , z)");
    check("let c = '\"'; let d = '\\''; x", "let c =    ; let d =     ; x");
    check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
    check("for r in var", "for r in var");
    check("\"a\nb\" c", "  \n   c");
}

#[test]
fn test_items_are_left_out_and_what_follows_them_stays() {
    let text = "a();\n#[cfg(test)]\nmod tests {\n fn f() { b(); }\n}\nc();\n#[cfg(test)]\nmod more;\nd();";
    let code = without_test_items(text);
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a();", "c();", "d();"]);
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn patterns_match_whole_words_only() {
    assert_eq!(lines_with("print!()\neprint!()\n my_print!() print!()", "print!").collect::<Vec<_>>(), [1, 3]);
}
