//! The launcher's library: what it prints, the agent CLIs, how each is set up, and what its hooks say.
//!
//! Never here: settings, sockets, the daemon's life. `ctxnode` beside this program knows all of that.

pub mod agents;
pub mod hooks;
pub mod setup;
pub mod skills;

use ctxnode_api::List;
use ctxnode_api::operations::VentureView;

/// Returns one line per venture: code, name, organisation, and where it is checked out on this machine.
#[must_use]
pub fn listing(ventures: &List<VentureView>) -> String {
    if ventures.items.is_empty() {
        return "no ventures yet; an admin adds one with  ctxnode venture set CODE".to_owned();
    }
    let rows: Vec<[&str; 4]> = ventures
        .items
        .iter()
        .map(|venture| {
            let place = venture.local_path.as_deref().unwrap_or("not installed");
            [venture.code.as_str(), venture.name.as_str(), venture.org.as_deref().unwrap_or("-"), place]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let lines = rows.iter().map(|[code, name, org, place]| {
        format!("{code:<0$}  {name:<1$}  {org:<2$}  {place}", widths[0], widths[1], widths[2])
    });
    // Names are foreign text: a terminal must not obey them.
    let safe = |line: String| line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    lines.map(safe).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_venture_has_a_line_with_its_place() {
        let venture = |code: &str, path: serde_json::Value| {
            json!({ "code": code, "name": "A\u{1b}name", "org": null, "repos": [], "capabilities": [],
                "local_path": path, "archived": false, "meta": {} })
        };
        let items = [venture("alpha", json!("/home/ada/dev/a")), venture("b", json!(null))];
        let list = json!({ "items": items, "shown": 2, "total": 2, "has_more": false });
        let text = listing(&serde_json::from_value(list).unwrap());
        assert_eq!(text, "alpha  A name  -  /home/ada/dev/a\nb      A name  -  not installed");
    }

    #[test]
    fn without_ventures_it_says_how_to_add_one() {
        let list = json!({ "items": [], "shown": 0, "total": 0, "has_more": false });
        assert!(listing(&serde_json::from_value(list).unwrap()).contains("ctxnode venture set"));
    }
}
