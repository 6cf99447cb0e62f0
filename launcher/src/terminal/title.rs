//! The title of the terminal's window: set while an agent runs, and then as it was before. Pure.

use ctxnode_config::Environment;

/// The most characters: tabs show fewer.
const MOST: usize = 80;
/// Terminals that would print the sequence instead of obeying it.
const WITHOUT: [&str; 3] = ["", "dumb", "linux"];

/// Returns what keeps the present title and sets another; `None` where a terminal has none.
#[must_use]
pub fn set(env: &Environment, words: &[&str]) -> Option<String> {
    has_title(env).then(|| {
        let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
        let plain: String = words.join(" ").chars().filter(|c| !c.is_control()).take(MOST).collect();
        format!("\u{1b}[22;2t\u{1b}]2;{plain}\u{1b}\\")
    })
}

/// Returns what brings the title back that was there before.
#[must_use]
pub fn restore(env: &Environment) -> Option<String> {
    has_title(env).then(|| "\u{1b}[23;2t".to_owned())
}

fn has_title(env: &Environment) -> bool {
    !WITHOUT.contains(&env.get("TERM").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_kept_set_and_brought_back() {
        let env = |term: &str| Environment::from_pairs([("TERM".to_owned(), term.to_owned())]);
        let given = set(&env("xterm-256color"), &["alpha", "dev/x\u{7}\u{1b}]2;evil", "", "claude"]).unwrap();
        assert_eq!(given, "\u{1b}[22;2t\u{1b}]2;alpha dev/x]2;evil claude\u{1b}\\", "no sequence of a branch's name");
        assert_eq!(restore(&env("xterm-256color")).as_deref(), Some("\u{1b}[23;2t"));
        for term in ["dumb", "linux"] {
            assert_eq!((set(&env(term), &["a"]), restore(&env(term))), (None, None));
        }
    }
}
