//! The list of ventures and where each of their repos is on this machine. Pure.

use ctxnode_api::operations::VentureView;
use ctxnode_model::rules::repo::same_repo;

use crate::checkout::Checkout;
use crate::plan::place::repo_of;

/// Returns one line per repo: code, name, organisation, repo, and where it is checked out.
#[must_use]
pub fn listing(ventures: &[VentureView], checkouts: &[Checkout]) -> String {
    if ventures.is_empty() {
        return "no ventures yet; an admin adds one with  ctxnode venture set CODE".to_owned();
    }
    let rows: Vec<[String; 5]> = ventures.iter().flat_map(|venture| of_venture(venture, checkouts)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let lines = rows.iter().map(|[code, name, org, repo, place]| {
        let [a, b, c, d] = widths;
        format!("{code:<a$}  {name:<b$}  {org:<c$}  {repo:<d$}  {place}")
    });
    // Names are foreign text: a terminal must not obey them.
    let safe = |line: String| line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    lines.map(safe).collect::<Vec<_>>().join("\n")
}

fn of_venture(venture: &VentureView, checkouts: &[Checkout]) -> Vec<[String; 5]> {
    let row = |repo: &str, place: Option<String>| {
        let place = place.unwrap_or_else(|| "not installed".to_owned());
        let org = venture.org.as_deref().unwrap_or("-").to_owned();
        [venture.code.clone(), venture.name.clone(), org, repo.to_owned(), place]
    };
    if venture.repos.is_empty() {
        return vec![row("-", venture.local_path.clone())];
    }
    let place = |repo: &str| {
        let found = checkouts.iter().find(|checkout| repo_of(checkout).is_some_and(|own| same_repo(&own, repo)));
        found.map(|checkout| checkout.path.display().to_string())
    };
    venture.repos.iter().map(|repo| row(repo, place(repo))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixture::{checkout, ventures};

    #[test]
    fn every_repo_has_a_line_with_its_place() {
        let mut all = ventures();
        all[1].name = "B\u{1b}ta".to_owned();
        let text = listing(&all, &[checkout("/home/ada/dev/c", "git@github.com:Alpha-Org/console.git")]);
        insta::assert_snapshot!(text, @r"
        alpha  Alpha  alpha-org  alpha-org/api      not installed
        alpha  Alpha  alpha-org  alpha-org/console  /home/ada/dev/c
        beta   B ta   beta-org   -                  not installed
        ");
    }

    #[test]
    fn without_ventures_it_says_how_to_add_one() {
        assert!(listing(&[], &[]).contains("ctxnode venture set"));
    }
}
