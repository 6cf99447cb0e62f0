//! Where the launcher speaks: the answer on stdout, everything else on stderr. Foreign text never commands a terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use zeroize::Zeroizing;

/// The largest secret that is read from stdin: key files have a few kilobytes.
const MOST_SECRET: u64 = 1 << 20;

/// The terminals of this process.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Whether a person can be asked: stdin and stderr are terminals.
    pub can_ask: bool,
    /// Whether times are told.
    pub debug: bool,
}

impl Screen {
    /// Looks at the terminals.
    #[must_use]
    pub fn detect(debug: bool) -> Self {
        Self { can_ask: io::stdin().is_terminal() && io::stderr().is_terminal(), debug }
    }

    /// Prints the answer on stdout. A reader that went away is no error.
    pub fn print(&self, text: &str) {
        let _ = writeln!(io::stdout().lock(), "{}", safe(text));
    }

    /// Says something on stderr.
    pub fn say(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{}", safe(text));
    }

    /// Gives the terminal a sequence to obey; nothing when there is none. Only for what is made here.
    pub fn obey(&self, sequence: &str) {
        let mut out = io::stdout().lock();
        if out.is_terminal() {
            let _ = write!(out, "{sequence}").and_then(|()| out.flush());
        }
    }

    /// Says something on stderr when `--debug` is given.
    pub fn debug(&self, text: &str) {
        if self.debug {
            self.say(&format!("debug: {text}"));
        }
    }

    /// Asks a person for a line; `None` without one.
    #[must_use]
    pub fn ask(&self, question: &str) -> Option<String> {
        if !self.can_ask {
            return None;
        }
        let mut errors = io::stderr().lock();
        let _ = write!(errors, "{} ", safe(question));
        let _ = errors.flush();
        let mut line = String::new();
        match io::stdin().lock().read_line(&mut line) {
            Ok(read) if read > 0 => Some(line.trim().to_owned()),
            _ => None,
        }
    }

    /// Asks a person a yes or no; without one, no.
    #[must_use]
    pub fn confirm(&self, question: &str) -> bool {
        self.ask(&format!("{question} [y/N]")).is_some_and(|line| matches!(line.as_str(), "y" | "Y" | "yes"))
    }

    /// Reads a value from stdin; on a terminal without showing it.
    ///
    /// # Errors
    /// When stdin cannot be read.
    pub fn read_hidden(&self, question: &str) -> io::Result<Zeroizing<String>> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let stdin = io::stdin();
        let before = if stdin.is_terminal() { Some(tcgetattr(&stdin)?) } else { None };
        if let Some(before) = &before {
            let _ = write!(io::stderr().lock(), "{} ", safe(question));
            let mut silent = before.clone();
            silent.local_modes.remove(LocalModes::ECHO);
            tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
        }
        let mut line = Zeroizing::new(String::new());
        let read = match &before {
            Some(_) => stdin.lock().read_line(&mut line),
            // A key file has many lines.
            None => stdin.lock().take(MOST_SECRET).read_to_string(&mut line),
        };
        if let Some(before) = &before {
            tcsetattr(&stdin, OptionalActions::Flush, before)?;
            let _ = writeln!(io::stderr().lock());
        }
        read?;
        let value = line.strip_suffix('\n').unwrap_or(&line);
        Ok(Zeroizing::new(value.strip_suffix('\r').unwrap_or(value).to_owned()))
    }
}

/// Replaces control characters, line ends apart.
fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
