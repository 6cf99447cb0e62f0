//! The command of a status line around somebody's own: theirs stands in ours as one quoted word, so that it can be run as it
//! was, and given back to the byte. Pure.

/// What our command begins with, and what stands before theirs.
const OURS: &str = "ctxnode statusline";
const BEFORE: &str = "ctxnode statusline --and '";

/// Returns our command around theirs; `None` when it is ours already.
#[must_use]
pub fn wrapped(theirs: &str) -> Option<String> {
    let is_ours = theirs.strip_prefix(OURS).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    // Within single quotes a shell takes everything as it is, but a single quote.
    (!is_ours && !theirs.trim().is_empty()).then(|| format!("{BEFORE}{}'", theirs.replace('\'', r"'\''")))
}

/// Returns their command out of ours; `None` when none is in it.
#[must_use]
pub fn unwrapped(ours: &str) -> Option<String> {
    Some(ours.strip_prefix(BEFORE)?.strip_suffix('\'')?.replace(r"'\''", "'"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ours_is_not_wrapped_again() {
        assert_eq!(wrapped("ctxnode statusline"), None);
        assert_eq!(wrapped(&wrapped("mine").unwrap()), None);
        assert_eq!(wrapped(" "), None);
        assert!(wrapped("ctxnode statuslines").is_some());
        assert_eq!(unwrapped("ctxnode statusline"), None);
    }

    proptest! {
        /// C-02: whatever somebody's command is, it comes back as it was.
        #[test]
        fn c_02_their_command_comes_back_as_it_was(theirs in "[ -~\u{e9}\n]{1,60}") {
            prop_assume!(!theirs.trim().is_empty());
            if let Some(ours) = wrapped(&theirs) {
                prop_assert_eq!(unwrapped(&ours), Some(theirs));
            }
        }

        /// A shell gives us their command as one word, and nothing of it is run on the way.
        #[test]
        fn a_shell_passes_their_command_as_one_word(theirs in "[ -~]{1,40}") {
            prop_assume!(!theirs.trim().is_empty() && !theirs.starts_with(OURS));
            let ours = wrapped(&theirs).unwrap().replacen(OURS, "printf '<%s>'", 1);
            let output = std::process::Command::new("/bin/sh").args(["-c", &ours]).output().unwrap();
            prop_assert_eq!(String::from_utf8_lossy(&output.stdout), format!("<--and><{theirs}>"));
        }
    }
}
