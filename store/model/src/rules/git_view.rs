//! The git view: `docs/handoffs/DEV.md`, the newest handoffs of a repo for readers without ctxnode.
//!
//! It is rendered from the store and never parsed back. Equal handoffs give equal bytes: no ages, no present time.

use std::fmt::Write as _;

use super::handoff::{Lists, status_name};
use super::limits::VIEW_HANDOFFS;
use crate::record::HandoffStatus;
use crate::{DocumentId, Timestamp};

/// The path of the view inside a checkout.
pub const PATH: &str = "docs/handoffs/DEV.md";

/// One handoff of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewRow {
    /// Its id.
    pub id: DocumentId,
    /// When it was stored.
    pub created_at: Timestamp,
    /// Who wrote it.
    pub agent: String,
    /// How the work stood.
    pub status: HandoffStatus,
    /// Whether a machine drafted it.
    pub drafted: bool,
    /// The summary.
    pub summary: String,
    /// The lists.
    pub lists: Lists,
}

/// Renders the view of a repo from its handoffs, newest first; those past the tenth are left out.
#[must_use]
pub fn render(repo: &str, rows: &[ViewRow]) -> String {
    let mut out = format!("# Handoffs of {repo}\n\n");
    out.push_str("Rendered by ctxnode when a session ends; edits here are overwritten.\n");
    for row in rows.iter().take(VIEW_HANDOFFS) {
        render_row(&mut out, row);
    }
    out
}

fn render_row(out: &mut String, row: &ViewRow) {
    let draft = if row.drafted { ", machine draft" } else { "" };
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "\n## {} {} ({}{draft})\n\nHandoff `{}`\n\n{}",
        row.created_at.iso(),
        one_line(&row.agent),
        status_name(row.status),
        row.id,
        quoted(&row.summary, "")
    );
    let lists = &row.lists;
    section(out, "Accomplished", &lists.accomplished, Marks::Bullets);
    section(out, "In progress", &lists.in_progress, Marks::Bullets);
    section(out, "Blocked", &lists.blocked, Marks::Bullets);
    section(out, "Next session", &lists.next_steps, Marks::Numbers);
}

#[derive(Clone, Copy)]
enum Marks {
    Bullets,
    Numbers,
}

fn section(out: &mut String, heading: &str, items: &[String], marks: Marks) {
    let _ = writeln!(out, "\n**{heading}**\n");
    if items.is_empty() {
        out.push_str("- none\n");
    }
    for (index, item) in items.iter().enumerate() {
        let mark = match marks {
            Marks::Bullets => "- ".to_owned(),
            Marks::Numbers => format!("{}. ", index + 1),
        };
        let _ = writeln!(out, "{mark}{}", quoted(item, &" ".repeat(mark.len())));
    }
}

/// Indents the lines after the first, and keeps a line of the text from reading as a heading or a conflict mark.
fn quoted(text: &str, indent: &str) -> String {
    let line = |(index, line): (usize, &str)| {
        let escape = if line.starts_with(['#', '<', '=', '>']) { "\\" } else { "" };
        let indent = if index == 0 || line.is_empty() { "" } else { indent };
        format!("{indent}{escape}{line}")
    };
    text.trim().lines().map(str::trim_end).enumerate().map(line).collect::<Vec<_>>().join("\n")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn row(n: u8) -> ViewRow {
        ViewRow {
            id: DocumentId { kind: Kind::Handoff, raw: [n; 16] },
            created_at: Timestamp(1_700_000_000_000 + i64::from(n)),
            agent: "claude-mac1-k3v9x2aa".into(),
            status: HandoffStatus::InProgress,
            drafted: n == 2,
            summary: "Parser wired.\n# not a heading".into(),
            lists: Lists {
                accomplished: vec!["Wired the parser".into()],
                next_steps: vec!["Run `cargo test`\nin store/model".into(), "Push".into()],
                ..Lists::default()
            },
        }
    }

    #[test]
    fn h_19_the_view_has_id_status_summary_and_four_headings() {
        insta::assert_snapshot!(render("org/x", &[row(1)]), @r"
        # Handoffs of org/x

        Rendered by ctxnode when a session ends; edits here are overwritten.

        ## 2023-11-14T22:13:20.001Z claude-mac1-k3v9x2aa (in_progress)

        Handoff `ho_01040G2081040G2081040G2081`

        Parser wired.
        \# not a heading

        **Accomplished**

        - Wired the parser

        **In progress**

        - none

        **Blocked**

        - none

        **Next session**

        1. Run `cargo test`
           in store/model
        2. Push
        ");
    }

    #[test]
    fn h_19_ten_handoffs_are_shown_and_equal_rows_give_equal_bytes() {
        let rows: Vec<ViewRow> = (1..=12).rev().map(row).collect();
        let text = render("org/x", &rows);
        assert_eq!(text.matches("**Next session**").count(), 10);
        assert!(text.contains(&rows[9].id.to_string()) && !text.contains(&rows[10].id.to_string()));
        assert_eq!(text, render("org/x", &rows));
        assert!(render("org/x", &[row(2)]).contains("(in_progress, machine draft)"));
    }
}
