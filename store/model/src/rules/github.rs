//! Labels, checks and links of issues and pull requests: what an edit of labels adds and takes away, when checks are green, which
//! issue a pull request belongs to.
//!
//! Not here: asking GitHub. Nothing of it is ever stored.

/// What a change of an issue's labels adds and takes away, in one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelEdit {
    /// Labels that are put on.
    pub add: Vec<String>,
    /// Labels that go.
    pub remove: Vec<String>,
}

impl LabelEdit {
    /// Plans a status: the only label that begins with `status:` from then on.
    #[must_use]
    pub fn status(current: &[String], status: &str) -> Self {
        let wanted = format!("status:{status}");
        let remove =
            current.iter().filter(|label| label.starts_with("status:") && **label != wanted).cloned().collect();
        let add = if current.contains(&wanted) { Vec::new() } else { vec![wanted] };
        Self { add, remove }
    }

    /// Adds a label beside the others.
    #[must_use]
    pub fn and(mut self, current: &[String], label: &str) -> Self {
        if !current.iter().any(|found| found == label) {
            self.add.push(label.to_owned());
        }
        self
    }

    /// Sets the grade of QA: exactly one of `qa:0` to `qa:4`.
    #[must_use]
    pub fn and_grade(mut self, current: &[String], grade: u8) -> Self {
        let wanted = format!("qa:{grade}");
        self.remove.extend(current.iter().filter(|label| is_grade(label) && **label != wanted).cloned());
        self.and(current, &wanted)
    }

    /// Takes off who has to act next.
    #[must_use]
    pub fn without_needs(mut self, current: &[String]) -> Self {
        self.remove.extend(current.iter().filter(|label| label.starts_with("needs:")).cloned());
        self
    }
}

fn is_grade(label: &str) -> bool {
    grade_of(label).is_some()
}

fn grade_of(label: &str) -> Option<u8> {
    label.strip_prefix("qa:")?.parse().ok().filter(|grade| *grade <= 4)
}

/// Returns the grade of QA that an issue has.
#[must_use]
pub fn grade(labels: &[String]) -> Option<u8> {
    labels.iter().find_map(|label| grade_of(label))
}

/// Returns the checks that are not green, by name; `None` when there is no check at all, which is not green either: nobody has
/// looked.
#[must_use]
pub fn not_green<'a>(checks: &[(&'a str, &str)]) -> Option<Vec<&'a str>> {
    const GREEN: [&str; 3] = ["SUCCESS", "NEUTRAL", "SKIPPED"];
    (!checks.is_empty())
        .then(|| checks.iter().filter(|(_, outcome)| !GREEN.contains(outcome)).map(|(name, _)| *name).collect())
}

/// Returns the issue of a pull request: the first `#N` in its body, else the first number in its branch's name.
#[must_use]
pub fn linked_issue(body: &str, branch: &str) -> Option<u32> {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().ok();
    let of_body = body.match_indices('#').find_map(|(at, _)| digits(&body[at + 1..]));
    of_body.or_else(|| digits(&branch[branch.find(|c: char| c.is_ascii_digit())?..])).filter(|issue| *issue > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn g_03_a_status_takes_every_other_away_and_needs_are_added() {
        let current = labels(&["status:ready", "status:in-progress", "needs:pm", "prio:P1"]);
        let edit = LabelEdit::status(&current, "qa").and(&current, "needs:qa");
        assert_eq!(edit.add, ["status:qa", "needs:qa"]);
        assert_eq!(edit.remove, ["status:ready", "status:in-progress"]);
        let done = LabelEdit::status(&labels(&["status:verified", "needs:qa", "needs:pm"]), "done");
        let done = done.without_needs(&labels(&["status:verified", "needs:qa", "needs:pm"]));
        assert_eq!(done.remove, ["status:verified", "needs:qa", "needs:pm"]);
        assert_eq!(LabelEdit::status(&labels(&["status:qa"]), "qa"), LabelEdit::default());
    }

    #[test]
    fn g_02_there_is_exactly_one_grade() {
        let current = labels(&["qa:1", "qa:high", "qa:9"]);
        assert_eq!(grade(&current), Some(1));
        assert_eq!(grade(&labels(&["qa:5"])), None);
        let edit = LabelEdit::default().and_grade(&current, 3);
        assert_eq!((edit.add, edit.remove), (labels(&["qa:3"]), labels(&["qa:1"])));
    }

    #[test]
    fn c_10_green_is_every_check_and_at_least_one() {
        assert_eq!(not_green(&[]), None);
        assert_eq!(not_green(&[("lint", "SUCCESS"), ("docs", "SKIPPED")]), Some(vec![]));
        assert_eq!(not_green(&[("lint", "SUCCESS"), ("test", "FAILURE"), ("e2e", "")]), Some(vec!["test", "e2e"]));
    }

    #[test]
    fn g_13_a_pull_request_names_its_issue_in_body_or_branch() {
        assert_eq!(linked_issue("Fixes #87, see #12", "dev/host/12-fix"), Some(87));
        assert_eq!(linked_issue("no number, # only", "dev/host/12-fix"), Some(12));
        assert_eq!(linked_issue("", "main"), None);
    }
}
