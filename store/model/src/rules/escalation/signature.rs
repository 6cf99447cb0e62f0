//! The normal form of an error's text: what changes from one run to the next is replaced by a mark.

/// Lower-cases a text and replaces quoted values, paths, times, hex and numbers, so that repetitions look alike.
#[must_use]
pub fn normalise(text: &str) -> String {
    let lower = unquoted(&text.to_lowercase());
    lower.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// Replaces values in double quotes, back-quotes, and single quotes that are no apostrophes.
fn unquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let opens = matches!(c, '"' | '`') || c == '\'' && !before.is_alphanumeric();
        // A quote that never closes on its line is a character like any other.
        let close = after.find([c, '\n']).filter(|end| opens && after[*end..].starts_with(c));
        match close {
            Some(end) => {
                out.push_str("<value>");
                rest = &after[end + c.len_utf8()..];
            }
            None => {
                out.push(c);
                rest = after;
            }
        }
        before = c;
    }
    out
}

/// Replaces a word, or the parts of it that are values; the punctuation around it stays.
fn word(word: &str) -> String {
    const AROUND: [char; 12] = ['(', ')', '[', ']', '{', '}', ',', ';', '.', '!', '?', ':'];
    let core = word.trim_matches(AROUND);
    let (start, end) = word.split_once(core).filter(|_| !core.is_empty()).unwrap_or((word, ""));
    let core = if core.is_empty() { String::new() } else { core_mark(core) };
    format!("{start}{core}{end}")
}

fn core_mark(core: &str) -> String {
    if core.contains(['/', '\\']) {
        return "<path>".to_owned();
    }
    let mut out = String::new();
    // A word such as `line:12:5` or `id=4f2a` is replaced part by part.
    for part in core.split_inclusive([':', '=', '-', '_', '@', '#', ',', '.']) {
        let value = part.trim_end_matches([':', '=', '-', '_', '@', '#', ',', '.']);
        let digits = value.chars().any(|c| c.is_ascii_digit());
        let hex = value.strip_prefix("0x").unwrap_or(value);
        if digits && hex.len() >= 6 && hex.chars().all(|c| c.is_ascii_hexdigit()) {
            out.push_str("<n>");
        } else {
            push_without_numbers(&mut out, value);
        }
        out.push_str(&part[value.len()..]);
    }
    // Times and versions are runs of numbers with separators; their length must not matter.
    while let Some(collapsed) = collapse(&out) {
        out = collapsed;
    }
    out
}

fn push_without_numbers(out: &mut String, value: &str) {
    let mut in_number = false;
    for c in value.chars() {
        let digit = c.is_ascii_digit();
        if digit && !in_number {
            out.push_str("<n>");
        } else if !digit {
            out.push(c);
        }
        in_number = digit;
    }
}

fn collapse(text: &str) -> Option<String> {
    const RUNS: [&str; 6] = ["<n>:<n>", "<n>-<n>", "<n>.<n>", "<n>t<n>", "<n>,<n>", "<n><n>"];
    RUNS.iter().find(|run| text.contains(**run)).map(|run| text.replace(run, "<n>"))
}
