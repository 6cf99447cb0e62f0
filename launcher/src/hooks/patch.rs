//! The files that a tool writes: from its input, or from the text of a patch.

use serde_json::Value;

use super::MOST_PATHS;

/// The fields in which the CLIs' tools name a file.
const FIELDS: [&str; 5] = ["file_path", "notebook_path", "path", "TargetFile", "absolute_path"];
/// The fields in which a patch may stand.
const PATCHES: [&str; 3] = ["command", "patch", "input"];
/// The lines of a patch that name a file, in the form of `apply_patch` and of `diff`.
const LINES: [&str; 6] =
    ["*** Update File: ", "*** Add File: ", "*** Delete File: ", "*** Move to: ", "+++ b/", "--- a/"];

/// Returns the files that a tool writes, each once. A tool that only reads has a path too: the caller knows which tools
/// edit.
pub(super) fn paths(input: &Value) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut add = |path: &str| {
        let path = path.trim();
        if !path.is_empty() && found.len() < MOST_PATHS && !found.iter().any(|known| known == path) {
            found.push(path.to_owned());
        }
    };
    for field in FIELDS {
        input.get(field).and_then(Value::as_str).into_iter().for_each(&mut add);
    }
    for field in PATCHES {
        let text = match input.get(field) {
            Some(Value::String(text)) => text.clone(),
            // A command line as a list: the patch is one of its words.
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
            _ => continue,
        };
        for line in text.lines() {
            LINES.iter().filter_map(|lead| line.strip_prefix(lead)).for_each(&mut add);
        }
    }
    found
}
