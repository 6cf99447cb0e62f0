//! What bootstrap noted of its doings, and the PATH lines that it put into the files of shells.

use std::io::ErrorKind;
use std::path::PathBuf;

use ctxnode_launcher::setup::exchange;

use super::Work;

/// What bootstrap writes behind its line in a shell's file.
const MARKER: &str = "# added by ctxnode bootstrap";
/// The files in which shells keep their PATH.
const SHELL_FILES: [&str; 6] = [".zshrc", ".bashrc", ".bash_profile", ".bash_login", ".profile", ".zprofile"];

/// Returns what bootstrap noted with a word.
pub(super) fn noted(record: &str, word: &str) -> Vec<PathBuf> {
    let paths = record.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    paths.map(PathBuf::from).collect()
}

/// Takes bootstrap's line out of every shell's file, and deletes those that bootstrap made for it.
pub(super) fn remove_path_lines(work: &mut Work<'_>, record: &str) {
    let home = &work.world.config.paths.home;
    let ended = noted(record, "line-end");
    let made = noted(record, "shell-file");
    let mut files: Vec<PathBuf> = SHELL_FILES.iter().map(|name| home.join(name)).collect();
    files.extend(noted(record, "path-line"));
    files.sort_unstable();
    files.dedup();
    for file in files {
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                work.left.push(format!("{}: {error}", file.display()));
                continue;
            }
        };
        let Some(rest) = without_line(&text, ended.contains(&file)) else { continue };
        if rest.is_empty() && made.contains(&file) {
            work.delete(&file);
            continue;
        }
        // Whole or not at all: half a shell's file would be a login that fails.
        match if work.dry { Ok(()) } else { exchange(&file, Some(&text), Some(&rest)) } {
            Ok(()) => work.did(format!("take the PATH line out of {}", file.display())),
            Err(error) => work.left.push(error.to_string()),
        }
    }
}

/// Returns the text without bootstrap's line, and without the line end that it had to put before it; `None` when there is
/// no such line.
fn without_line(text: &[u8], ended: bool) -> Option<Vec<u8>> {
    let marker = MARKER.as_bytes();
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let at = lines.iter().position(|line| line.trim_ascii_end().ends_with(marker))?;
    let mut rest = lines[..at].concat();
    if ended && lines.len() == at + 1 {
        rest.pop_if(|last| *last == b'\n');
    }
    rest.extend(lines[at + 1..].concat());
    Some(rest)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn b_06_the_line_goes_and_every_other_byte_stays() {
        let line = format!("export PATH=\"$HOME/.local/bin:$PATH\"  {MARKER}\n");
        let of = |text: &[u8], ended| without_line(text, ended);
        let with = |before: &[u8], after: &[u8]| [before, line.as_bytes(), after].concat();
        assert_eq!(of(b"alias x=y\n", false), None);
        assert_eq!(of(&with(b"a\xff\n", b""), false).unwrap(), b"a\xff\n");
        assert_eq!(of(&with(b"a\xff\n", b""), true).unwrap(), b"a\xff", "it had no end before");
        assert_eq!(of(&with(b"a\n", b"later\n"), true).unwrap(), b"a\nlater\n", "somebody went on below it");
        assert_eq!(of(&with(b"", b""), false).unwrap(), b"");
    }

    #[test]
    fn a_record_is_read_by_its_words() {
        let record = "program /h/.local/bin/ctxnode\npath-line /h/a b\nline-end /h/a b\n";
        assert_eq!(noted(record, "path-line"), [Path::new("/h/a b")]);
        assert!(noted(record, "shell-file").is_empty());
    }
}
