//! The text of the systemd user unit.
//!
//! Not here: where it is installed and how it is started.

use std::fmt::Write as _;

use super::Service;

/// Renders the unit.
///
/// The daemon closes its store on SIGTERM; 30 s is far more than that takes and less than a logout waits. A daemon that
/// keeps failing is given up after five tries in a minute, so that a broken store does not fill the journal.
pub(super) fn render(service: &Service) -> String {
    let mut variables = String::new();
    for (name, value) in &service.environment {
        // Writing to a String cannot fail.
        let _ = writeln!(variables, "Environment={}", quoted(&format!("{name}={value}")));
    }
    let program = quoted(&service.program.to_string_lossy());
    format!(
        "\
# Written by ctxnode; changes are overwritten. Own settings belong into `systemctl --user edit ctxnode`.
[Unit]
Description=ctxnode daemon
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=exec
ExecStart={program} daemon run
{variables}Restart=on-failure
RestartSec=2
TimeoutStopSec=30
UMask=0077

[Install]
WantedBy=default.target
"
    )
}

/// Returns a word in systemd's double quotes, with its specifiers (`%`) and escapes made harmless.
///
/// `$` stays as it is: systemd expands it in the arguments of a command, but neither in the path of the program nor in
/// `Environment=`.
fn quoted(word: &str) -> String {
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '%' => out.push_str("%%"),
            '\n' => out.push_str("\\n"),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}
