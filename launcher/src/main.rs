//! The program `launcher`: reads its arguments and its environment, and hands both to the library.

use std::process::ExitCode;

use ctxnode_config::Environment;

fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "the one place where this program reads its environment")]
    let found = std::env::vars_os().filter_map(|(name, value)| {
        // A variable that is not text is none of ours; the agent gets it all the same.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    });
    ctxnode_launcher::launcher(std::env::args_os().collect(), Environment::from_pairs(found))
}
