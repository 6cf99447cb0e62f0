//! Descriptions of terminals that true colour and the clipboard need, for systems that do not know them: compiled into the
//! user's own folder, and only there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ctxnode_config::Environment;

use crate::program::{Program, find};

/// How long a description may take to be looked up or compiled.
const LIMIT: Duration = Duration::from_secs(5);

/// The terminals that are described here, for systems that do not know them, each on one that every system knows.
const TERMINALS: [(&str, &str); 2] = [
    (
        "tmux-256color",
        "tmux-256color|tmux with 256 colours and italics,\n\tTc, Ms=\\E]52;%p1%s;%p2%s\\007, ritm=\\E[23m, rmso=\\E[27m, rmxx=\\E[29m,\n\tsitm=\\E[3m, smso=\\E[7m, smxx=\\E[9m, use=screen-256color,\n",
    ),
    (
        "xterm-ghostty",
        "xterm-ghostty|Ghostty,\n\tTc, Ms=\\E]52;%p1%s;%p2%s\\007, ritm=\\E[23m, rmxx=\\E[29m, sitm=\\E[3m, smxx=\\E[9m,\n\tuse=xterm-256color,\n",
    ),
];

/// The descriptions of terminals of this user.
#[derive(Clone, Debug)]
pub struct Terminfo {
    home: PathBuf,
    infocmp: Option<PathBuf>,
    tic: Option<PathBuf>,
}

/// How a terminal is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The system describes it, or the user does.
    Already,
    /// It was described by us.
    Ours,
    /// Nobody describes it.
    Not,
}

impl Terminfo {
    /// Looks for the system's programs.
    #[must_use]
    pub fn of(home: &Path, env: &Environment) -> Self {
        Self { home: home.to_owned(), infocmp: find("infocmp", env), tic: find("tic", env) }
    }

    /// Whether the system can describe terminals.
    #[must_use]
    pub fn can_compile(&self) -> bool {
        self.tic.is_some() && self.infocmp.is_some()
    }

    /// Returns how each terminal is known.
    pub async fn look(&self) -> Vec<(&'static str, Known)> {
        let mut all = Vec::new();
        for (name, _) in TERMINALS {
            all.push((name, self.known(name).await));
        }
        all
    }

    async fn known(&self, name: &str) -> Known {
        if self.mark(name).exists() {
            return Known::Ours;
        }
        let Some(infocmp) = &self.infocmp else { return Known::Not };
        let done = Program::new(infocmp, [name]).run(LIMIT).await;
        if done.is_ok_and(|done| done.status.success()) { Known::Already } else { Known::Not }
    }

    /// Describes a terminal for this user. Returns whether it is known then.
    pub async fn describe(&self, name: &str) -> bool {
        let (Some(tic), Some((_, text))) = (&self.tic, TERMINALS.iter().find(|(known, _)| *known == name)) else {
            return false;
        };
        let (folder, mark) = (self.home.join(".terminfo"), self.mark(name));
        let written = mark.parent().map(std::fs::create_dir_all).unwrap_or(Ok(()));
        if written.and_then(|()| std::fs::write(&mark, text)).is_err() {
            return false;
        }
        let words = ["-x".into(), "-o".into(), folder.into_os_string(), mark.clone().into_os_string()];
        let done = Program::new(tic, words).run(LIMIT).await.is_ok_and(|done| done.status.success());
        if !done {
            // What is not compiled was not described.
            let _ = std::fs::remove_file(&mark);
        }
        done
    }

    /// Returns the terminals that were described by us.
    #[must_use]
    pub fn ours(&self) -> Vec<&'static str> {
        TERMINALS.iter().map(|(name, _)| *name).filter(|name| self.mark(name).exists()).collect()
    }

    /// Takes our descriptions away again, and the folders that are empty then.
    pub fn forget(&self) -> Vec<&'static str> {
        let mut gone = Vec::new();
        for (name, _) in TERMINALS {
            let mark = self.mark(name);
            if std::fs::remove_file(&mark).is_err() {
                continue;
            }
            gone.push(name);
            let first = name.chars().next().unwrap_or_default();
            // Some systems sort them by the letter, others by its number.
            for folder in [first.to_string(), format!("{:x}", u32::from(first))] {
                let folder = self.home.join(".terminfo").join(folder);
                let _ = std::fs::remove_file(folder.join(name));
                let _ = std::fs::remove_dir(&folder);
            }
            let _ = std::fs::remove_dir(self.home.join(".terminfo"));
            let _ = mark.parent().map(std::fs::remove_dir);
        }
        gone
    }

    /// The source that we compiled lies there for as long as its description is ours.
    fn mark(&self, name: &str) -> PathBuf {
        self.home.join(".config/ctxnode/terminfo").join(name)
    }
}
