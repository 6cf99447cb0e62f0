//! The text of the launchd property list.
//!
//! Not here: where it is installed and how it is loaded.

use std::fmt::Write as _;
use std::path::Path;

use super::Service;

/// Renders the property list.
///
/// `KeepAlive` only after a failure: `ctxnode daemon stop` must stay a stop. `ProcessType` keeps the system from
/// slowing down a daemon that answers people.
pub(super) fn render(service: &Service, label: &str) -> String {
    let program = escaped(&service.program.to_string_lossy());
    let stdout = log_file(&service.log_dir, "daemon.out");
    let stderr = log_file(&service.log_dir, "daemon.err");
    let variables = variables(service);
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>{label}</string>
  <key>ProgramArguments</key>
  <array>
    <string>{program}</string>
    <string>daemon</string>
    <string>run</string>
  </array>
{variables}  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ProcessType</key>
  <string>Interactive</string>
  <key>Umask</key>
  <integer>63</integer>
  <key>StandardOutPath</key>
  <string>{stdout}</string>
  <key>StandardErrorPath</key>
  <string>{stderr}</string>
</dict>
</plist>
"#
    )
}

fn variables(service: &Service) -> String {
    if service.environment.is_empty() {
        return String::new();
    }
    let mut out = String::from("  <key>EnvironmentVariables</key>\n  <dict>\n");
    for (name, value) in &service.environment {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "    <key>{}</key>\n    <string>{}</string>", escaped(name), escaped(value));
    }
    out.push_str("  </dict>\n");
    out
}

fn log_file(dir: &Path, name: &str) -> String {
    escaped(&dir.join(name).to_string_lossy())
}

/// Returns text for an XML element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
