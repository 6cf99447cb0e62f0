//! Lines and lists of lines within a number of characters. Every list says how many of how many rows it shows.

use ctxnode_model::rules::text::{chars, ellipsis};

/// Returns a text as one line of at most `max` characters.
pub(super) fn line(text: &str, max: usize) -> String {
    // Cut first: a text of megabytes must not be copied as a whole for one line.
    let beginning = ellipsis(text, max.saturating_mul(4).max(max));
    let words: Vec<&str> = beginning.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    ellipsis(&words.join(" "), max)
}

/// A section with one line per row.
pub(super) struct Rows<'a> {
    /// The heading, without the counts.
    pub(super) heading: &'a str,
    /// What stands behind the counts, inside the brackets.
    pub(super) besides: &'a str,
    /// The rows, each one line.
    pub(super) rows: Vec<String>,
    /// How many there are.
    pub(super) total: u64,
    /// What shows the others.
    pub(super) more: &'a str,
}

impl Rows<'_> {
    /// Returns the section in at most `cap` characters; the heading with its counts stays in any case.
    pub(super) fn within(&self, cap: usize) -> String {
        // The heading is longest when it counts every row and names what shows the others.
        let longest = chars(&self.head(self.rows.len())).max(chars(&self.head(0)));
        let mut room = cap.saturating_sub(longest + chars(&self.tail(0)));
        let mut shown = 0;
        for row in &self.rows {
            let length = chars(row) + 1;
            if length > room {
                break;
            }
            room -= length;
            shown += 1;
        }
        let rows = self.rows.iter().take(shown).map(|row| format!("\n{row}"));
        format!("{}{}{}", self.head(shown), rows.collect::<String>(), self.tail(shown))
    }

    fn head(&self, shown: usize) -> String {
        format!("### {} ({shown} of {}{})", self.heading, self.total, self.besides)
    }

    fn tail(&self, shown: usize) -> String {
        let rest = self.total.saturating_sub(shown as u64);
        if rest == 0 { String::new() } else { format!("\n{rest} more: {}", self.more) }
    }
}

/// Returns as many of the lines as fit, with a last one that says how many are missing and what shows them.
pub(super) fn lines_within(lines: &[String], cap: usize, more: &str) -> String {
    let tail = |missing: usize| format!("{missing} more lines: {more}");
    let all = lines.iter().map(|line| chars(line) + 1).sum::<usize>();
    if all <= cap + 1 {
        return lines.join("\n");
    }
    let mut room = cap.saturating_sub(chars(&tail(lines.len())));
    // The first line says what the section is; without it the count would count nothing.
    let mut shown = vec![lines[0].clone()];
    room = room.saturating_sub(chars(&lines[0]) + 1);
    for line in &lines[1..] {
        let length = chars(line) + 1;
        if length > room {
            break;
        }
        room -= length;
        shown.push(line.clone());
    }
    let missing = lines.len() - shown.len();
    if missing > 0 {
        shown.push(tail(missing));
    }
    shown.join("\n")
}
