//! What a command prints: the answer on stdout, everything else on stderr, for people or as JSON.
//!
//! Text from the store is foreign text: control characters never reach a terminal. Meaning never depends on colour.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::failure::Failure;
use crate::process::agents_above;

/// Work that takes longer than this shows that it goes on.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(100);
/// Tables on narrower terminals are laid out for this width, since a column of one character cannot be read.
const MIN_WIDTH: u16 = 40;

/// In which form an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Tables and lines.
    People,
    /// The object of the API.
    Json,
}

/// How much is printed beside the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chatter {
    /// Notices, hints and progress.
    Usual,
    /// Only errors.
    Quiet,
}

/// Where a command prints, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    /// In which form.
    pub(super) form: Form,
    /// How much.
    pub(super) chatter: Chatter,
    /// Whether errors are coloured.
    pub(super) colour: bool,
    /// The width of the terminal; `None` when stdout is none.
    pub(super) width: Option<u16>,
    /// Whether a person can be asked: stdin and stderr are terminals.
    pub(super) can_ask: bool,
    /// Whether progress can be shown: stderr is a terminal.
    pub(super) can_show_progress: bool,
    /// Whether a person is there at all: stdin or stdout is a terminal, and it is not an agent that holds it.
    pub(super) person: bool,
}

impl Screen {
    /// Looks at the terminals of this process.
    pub(super) fn detect(form: Form, chatter: Chatter, colour: bool) -> Self {
        let (input, output, errors) =
            (io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal());
        let width = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col.max(MIN_WIDTH));
        Self {
            form,
            chatter,
            colour: colour && errors,
            width: if output { width() } else { None },
            can_ask: input && errors,
            can_show_progress: errors && chatter == Chatter::Usual,
            person: is_person(input || output, || !agents_above(std::process::id()).is_empty()),
        }
    }

    /// A screen for tests: people, no terminal.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self {
            form: Form::People,
            chatter: Chatter::Usual,
            colour: false,
            width: None,
            can_ask: false,
            can_show_progress: false,
            person: false,
        }
    }

    /// Prints text on stdout, with a line end. A reader that went away (`| head`) is no error.
    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let text = text.trim_end_matches('\n');
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
            _ => Ok(()),
        }
    }

    /// Prints text that must have arrived before anything else is done: a reader that went away is an error too.
    pub(super) fn print_surely(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let text = text.trim_end_matches('\n');
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Failure::Output)
    }

    /// The same for an object.
    pub(super) fn print_json_surely(&self, value: &Value) -> Result<(), Failure> {
        self.print_surely(&serde_json::to_string_pretty(value).unwrap_or_default())
    }

    /// Prints text on stdout exactly as it is.
    pub(super) fn print_exactly(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
            _ => Ok(()),
        }
    }

    /// Prints an object on stdout.
    pub(super) fn print_json(&self, value: &Value) -> Result<(), Failure> {
        self.print(&serde_json::to_string_pretty(value).unwrap_or_default())
    }

    /// Prints a line on stderr unless only errors are wanted.
    pub(super) fn notice(&self, text: &str) {
        if self.chatter == Chatter::Usual {
            to_stderr(&line(text));
        }
    }

    /// Says why a command has no answer: the error, every bad field, what to do.
    pub(super) fn failure(&self, failure: &Failure) {
        if self.form == Form::Json {
            // Where stdout cannot be written either, the text on stderr is all that is left.
            let _ = self.print_json(&failure.json());
        }
        to_stderr(format!("{} {}", self.label("error:", "31;1"), body(&failure.message())).trim_end());
        if let Failure::Refused(refused) = failure {
            for field in &refused.details {
                to_stderr(&format!("  {}: {}", line(&field.field), line(&field.message)));
            }
            if let Some(total) = refused.details_total {
                to_stderr(&format!("  {} of {total} shown", refused.details.len()));
            }
        }
        if let (Some(hint), Chatter::Usual) = (failure.hint(), self.chatter) {
            to_stderr(&format!("{} {}", self.label("hint:", "36"), line(&hint)));
        }
    }

    fn label(&self, text: &str, style: &str) -> String {
        if self.colour { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Asks a person; without one the answer is yes, because the command was given on purpose.
    pub(super) fn confirm(&self, question: &str) -> Result<(), Failure> {
        if !self.can_ask {
            return Ok(());
        }
        let mut errors = io::stderr().lock();
        let mut answer = String::new();
        let asked = write!(errors, "{} [y/N] ", line(question)).and_then(|()| errors.flush());
        asked.and_then(|()| io::stdin().lock().read_line(&mut answer)).map_err(Failure::Output)?;
        if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::Declined) }
    }

    /// Waits for work; a person who waits longer sees that it goes on.
    pub(super) async fn waiting<T>(&self, what: &'static str, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        if !self.can_show_progress {
            return work.await;
        }
        if let Ok(done) = tokio::time::timeout(PATIENCE, &mut work).await {
            return done;
        }
        let spinner = ProgressBar::new_spinner().with_message(what);
        spinner.enable_steady_tick(TURN);
        let done = work.await;
        spinner.finish_and_clear();
        done
    }

    /// Returns a bar for a known number of steps, hidden where nobody looks.
    pub(super) fn bar(&self, steps: u64) -> ProgressBar {
        if !self.can_show_progress {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}");
        let bar = ProgressBar::new(steps);
        style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
    }

    /// Lays rows out under their headings; nothing at all without rows.
    pub(super) fn table<R: IntoIterator<Item = String>>(
        &self,
        headings: &[&str],
        rows: impl IntoIterator<Item = R>,
    ) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        match self.width {
            Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
        table.add_rows(rows.into_iter().map(|row| row.into_iter().map(|cell| line(&cell)).collect::<Vec<_>>()));
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        if table.row_count() == 0 { String::new() } else { table.trim_fmt() }
    }
}

/// Whether a person has typed the command: some agents run theirs in a terminal too. Agents are not looked for without a
/// terminal, since hooks run with each of their tools.
fn is_person(terminal: bool, has_agent: impl FnOnce() -> bool) -> bool {
    terminal && !has_agent()
}

#[expect(clippy::print_stderr, reason = "the one place where the command line writes to stderr")]
fn to_stderr(text: &str) {
    eprintln!("{text}");
}

/// Makes foreign text safe for one line: every control character becomes a space.
pub(super) fn line(text: &str) -> String {
    text.chars().map(|found| if found.is_control() { ' ' } else { found }).collect()
}

/// Makes foreign text safe for a terminal: control characters but line ends and tabs are shown as their code.
pub(super) fn body(text: &str) -> String {
    let keeps = |found: char| !found.is_control() || matches!(found, '\n' | '\t');
    text.chars()
        .map(|found| if keeps(found) { found.to_string() } else { found.escape_unicode().to_string() })
        .collect()
}

/// Writes facts below each other, `name: value`; absent ones are left out.
pub(super) fn facts(rows: &[(&str, Option<String>)]) -> String {
    let width = rows.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = rows.iter().filter_map(|(name, value)| {
        let value = line(value.as_ref()?);
        Some(format!("{:<width$}  {value}", format!("{name}:"), width = width + 1).trim_end().to_owned())
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What stands under a list: how much of it is here, and how to see the rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Footer<'a> {
    /// Rows that are here.
    pub(super) shown: usize,
    /// Rows that there are.
    pub(super) total: u64,
    /// Whether there are more.
    pub(super) has_more: bool,
    /// Where the next page begins.
    pub(super) next: Option<&'a str>,
}

impl<'a, T> From<&'a ctxnode_api::List<T>> for Footer<'a> {
    fn from(list: &'a ctxnode_api::List<T>) -> Self {
        Self { shown: list.shown, total: list.total, has_more: list.has_more, next: list.next_cursor.as_deref() }
    }
}

impl std::fmt::Display for Footer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} shown", self.shown, self.total)?;
        match self.next {
            Some(cursor) if self.has_more => write!(f, "; more with --cursor {}", line(cursor)),
            _ if self.has_more => write!(f, "; more with --limit"),
            _ => Ok(()),
        }
    }
}

/// Joins the parts of an answer with an empty line between them; empty parts are left out.
pub(super) fn parts<const N: usize>(parts: [String; N]) -> String {
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// N-11: an agent that runs a command in a terminal is no human.
    #[test]
    fn n_11_a_terminal_of_an_agent_is_no_person() {
        assert!(is_person(true, || false));
        assert!(!is_person(true, || true));
        assert!(!is_person(false, || panic!("there is no need to look")));
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(line("a\u{1b}[31mb\nc"), "a [31mb c");
        assert_eq!(body("a\u{1b}[31m\n\tb\r"), "a\\u{1b}[31m\n\tb\\u{d}");
    }

    #[test]
    fn a_table_has_no_borders_and_fits_a_narrow_terminal() {
        let rows = [["note_01", "a title that is rather long for this terminal"], ["note_02", "short"]];
        let rows = || rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
        let wide = Screen::plain().table(&["id", "title"], rows());
        assert!(wide.starts_with("ID"), "{wide}");
        assert!(wide.lines().nth(1).unwrap().ends_with("this terminal"), "{wide}");
        let narrow = Screen { width: Some(40), ..Screen::plain() }.table(&["id", "title"], rows());
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
        assert!(!narrow.contains(['|', '+', '│']), "{narrow}");
        assert_eq!(Screen::plain().table(&["id"], Vec::<Vec<String>>::new()), "");
    }

    #[test]
    fn a_page_length_is_never_shown_as_a_total() {
        let footer = Footer { shown: 20, total: 133, has_more: true, next: Some("abc") };
        assert_eq!(footer.to_string(), "20 of 133 shown; more with --cursor abc");
        assert_eq!(Footer { shown: 3, total: 3, has_more: false, next: None }.to_string(), "3 of 3 shown");
    }

    #[test]
    fn absent_facts_leave_no_line() {
        let text = facts(&[("id", Some("x".into())), ("venture", None), ("title", Some("a\nb".into()))]);
        assert_eq!(text, "id:     x\ntitle:  a b");
    }
}
