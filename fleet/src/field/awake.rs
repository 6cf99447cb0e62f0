//! The process that keeps a machine awake while it runs. Ending it is all that lets the machine sleep again.

use std::time::Duration;

/// Whose program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// `caffeinate`.
    MacOs,
    /// `systemd-inhibit`.
    Linux,
}

/// What is wanted of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Awake {
    /// The display may sleep all the same.
    pub display_sleep: bool,
    /// For how long; until it is ended when absent.
    pub limit: Option<Duration>,
}

impl Awake {
    /// Returns program and arguments. No shell is involved.
    #[must_use]
    pub fn command(&self, system: System) -> Vec<String> {
        let limit = self.limit.map(|limit| limit.as_secs().to_string());
        let words: Vec<String> = match system {
            System::MacOs => {
                let flags = if self.display_sleep { "-is" } else { "-dis" };
                let limit = limit.into_iter().flat_map(|seconds| ["-t".to_owned(), seconds]);
                ["caffeinate", flags].into_iter().map(str::to_owned).chain(limit).collect()
            }
            System::Linux => {
                // What blanks the screen of a desktop is idleness.
                let what = if self.display_sleep { "--what=sleep" } else { "--what=sleep:idle" };
                let fixed = ["systemd-inhibit", what, "--who=ctxnode", "--why=field mode", "--mode=block", "sleep"];
                fixed.into_iter().map(str::to_owned).chain([limit.unwrap_or_else(|| "infinity".to_owned())]).collect()
            }
        };
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(system: System, display_sleep: bool, hours: Option<u64>) -> String {
        let limit = hours.map(|hours| Duration::from_secs(hours * 3_600));
        Awake { display_sleep, limit }.command(system).join(" ")
    }

    #[test]
    fn t_06_each_system_has_its_own_program() {
        assert_eq!(words(System::MacOs, false, None), "caffeinate -dis");
        assert_eq!(words(System::MacOs, true, Some(2)), "caffeinate -is -t 7200");
        let linux = "systemd-inhibit --what=sleep:idle --who=ctxnode --why=field mode --mode=block sleep infinity";
        assert_eq!(words(System::Linux, false, None), linux);
        assert!(words(System::Linux, true, Some(1)).ends_with("sleep 3600"));
        assert!(words(System::Linux, true, None).contains("--what=sleep "));
    }
}
