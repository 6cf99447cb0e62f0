//! The daemon as a user service: what to install where, and which commands make it run or go away.
//!
//! Not here: the text of the files (`systemd`, `launchd`), nor carrying out a plan.

mod launchd;
mod systemd;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The label of the job in launchd.
const LAUNCHD_LABEL: &str = "dev.ctxnode.daemon";
/// The name of the unit in systemd.
const SYSTEMD_UNIT: &str = "ctxnode.service";

/// The daemon to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The binary, absolute: a service manager has another PATH than the shell.
    pub program: PathBuf,
    /// Where launchd sends what is printed before the daemon's own log is open. systemd has the journal for that.
    pub log_dir: PathBuf,
    /// Variables for the daemon, for example a data directory that is not the default one. Never a secret: the file is
    /// plain text.
    pub environment: BTreeMap<String, String>,
}

impl Service {
    /// Makes a service without variables of its own.
    pub fn new(program: impl Into<PathBuf>, log_dir: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), log_dir: log_dir.into(), environment: BTreeMap::new() }
    }
}

/// The program that keeps user services running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// `systemctl --user` on Linux.
    Systemd,
    /// `launchctl` on macOS.
    Launchd,
}

/// One step of a plan, to be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a directory and its parents.
    MakeDir {
        /// The directory.
        path: PathBuf,
    },
    /// Write a file, replacing what is there. Skip it when the contents are equal already.
    Write {
        /// The file; its directory may have to be made.
        path: PathBuf,
        /// Its whole text.
        contents: String,
    },
    /// Remove a file; absent is fine.
    Remove {
        /// The file.
        path: PathBuf,
    },
    /// Run a command.
    Run {
        /// Program and arguments; no shell is involved.
        argv: Vec<String>,
        /// What a failure means.
        on_failure: OnFailure,
    },
}

/// What the failure of a command means for the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The plan has failed.
    Stop,
    /// Go on: the command only clears what may not be there.
    Continue,
}

impl Manager {
    /// Returns the path of the service file below a home directory.
    #[must_use]
    pub fn path(self, home: &Path) -> PathBuf {
        match self {
            Self::Systemd => home.join(".config/systemd/user").join(SYSTEMD_UNIT),
            Self::Launchd => home.join("Library/LaunchAgents").join(format!("{LAUNCHD_LABEL}.plist")),
        }
    }

    /// Returns the text of the service file.
    #[must_use]
    pub fn render(self, service: &Service) -> String {
        match self {
            Self::Systemd => systemd::render(service),
            Self::Launchd => launchd::render(service, LAUNCHD_LABEL),
        }
    }

    /// Plans the installation. Carrying it out twice leaves what once leaves, with a daemon of the newest binary.
    #[must_use]
    pub fn install(self, home: &Path, service: &Service) -> Vec<Step> {
        let path = self.path(home);
        let write = Step::Write { path: path.clone(), contents: self.render(service) };
        match self {
            Self::Systemd => vec![
                write,
                run(&["systemctl", "--user", "daemon-reload"], OnFailure::Stop),
                run(&["systemctl", "--user", "enable", SYSTEMD_UNIT], OnFailure::Stop),
                run(&["systemctl", "--user", "restart", SYSTEMD_UNIT], OnFailure::Stop),
            ],
            Self::Launchd => vec![
                Step::MakeDir { path: service.log_dir.clone() },
                write,
                // launchd refuses to load a label twice, and keeps the old definition until it is unloaded.
                run(&["launchctl", "unload", &path.to_string_lossy()], OnFailure::Continue),
                run(&["launchctl", "load", "-w", &path.to_string_lossy()], OnFailure::Stop),
            ],
        }
    }

    /// Plans the removal. The replica and the logs stay.
    #[must_use]
    pub fn uninstall(self, home: &Path) -> Vec<Step> {
        let path = self.path(home);
        match self {
            Self::Systemd => vec![
                run(&["systemctl", "--user", "disable", "--now", SYSTEMD_UNIT], OnFailure::Continue),
                Step::Remove { path },
                run(&["systemctl", "--user", "daemon-reload"], OnFailure::Continue),
            ],
            Self::Launchd => vec![
                run(&["launchctl", "unload", "-w", &path.to_string_lossy()], OnFailure::Continue),
                Step::Remove { path },
            ],
        }
    }
}

fn run(argv: &[&str], on_failure: OnFailure) -> Step {
    Step::Run { argv: argv.iter().map(|&arg| arg.to_owned()).collect(), on_failure }
}
