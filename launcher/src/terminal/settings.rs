//! The settings of tmux that ctxnode looks after: a file of its own, and one line that reads it. The line comes first, so
//! that whatever the user sets below it wins. Pure; `setup` writes.

use std::path::Path;

use crate::setup::{Content, Wanted};

/// What is set, as tmux's own words; the same on all machines. Appended values have a number of their own, so that
/// reading the file again does not append once more.
const FILE: &str = r##"# Settings of ctxnode. Your own go into ~/.tmux.conf, below the line that reads this file.
set -s default-terminal "tmux-256color"
set -s terminal-overrides[100] "xterm-ghostty:Tc"
# mosh passes a copied text on only when it says for which clipboard it is.
set -s terminal-overrides[101] 'xterm*:Ms=\E]52;c;%p2%s\007'
set -s escape-time 10
set -s set-clipboard on
set -g mouse on
set -g history-limit 50000
set -g base-index 1
set -g status-left "[#h] "
set -g status-left-length 20
set -g status-right "%H:%M"
bind-key r source-file ~/.tmux.conf
# Releasing the mouse copies and stays where it is.
bind-key -T copy-mode MouseDragEnd1Pane send-keys -X copy-selection
bind-key -T copy-mode-vi MouseDragEnd1Pane send-keys -X copy-selection
"##;

/// The line in the user's file. Quiet (`-q`), so that a copy of it on a machine without ours is no error at each start.
const LINE: &str = "source-file -q ~/.config/ctxnode/tmux.conf";

/// Returns the files, and what should be in them.
#[must_use]
pub fn wanted(home: &Path) -> Vec<Wanted> {
    let folder = home.join(".config/ctxnode");
    vec![
        Wanted {
            path: folder.join("tmux.conf"),
            what: "settings",
            content: Content::Whole(FILE.trim_end().to_owned()),
        },
        Wanted {
            path: home.join(".tmux.conf"),
            what: "line that reads them",
            content: Content::FirstLine(LINE.to_owned()),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::{Edit, edit};

    #[test]
    fn t_01_the_line_comes_first_once_and_every_other_byte_stays() {
        let line = &wanted(Path::new("/home/ada"))[1];
        let own = "# mine\r\nset -g prefix C-a\n\n  bind x kill-pane  \n";
        let Edit::Write(after) = edit(line, Some(own)).unwrap() else { panic!("nothing was written") };
        assert_eq!(after, format!("{LINE}\n{own}"));
        assert_eq!(edit(line, Some(&after)).unwrap(), Edit::Keep, "twice is the same");
        let moved = format!("{own}  {LINE}\n");
        assert_eq!(edit(line, Some(&moved)).unwrap(), Edit::Keep, "wherever somebody put it");
        assert_eq!(edit(line, None).unwrap(), Edit::Write(format!("{LINE}\n")));
    }
}
