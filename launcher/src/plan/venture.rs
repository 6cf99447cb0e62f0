//! Which venture is meant.

use ctxnode_api::operations::VentureView;
use ctxnode_model::rules::text::near;

use crate::refusal::Refusal;

/// Finds a venture by its code, whatever its case.
///
/// # Errors
/// When none has it; the refusal names near matches and all codes.
pub fn find<'a>(typed: &str, ventures: &'a [VentureView]) -> Result<&'a VentureView, Refusal> {
    let code = typed.to_lowercase();
    if let Some(found) = ventures.iter().find(|venture| venture.code == code) {
        return Ok(found);
    }
    let known: Vec<&str> = ventures.iter().map(|venture| venture.code.as_str()).collect();
    let near = near(&code, &known);
    Err(Refusal::UnknownVenture { code, near, known: known.into_iter().map(str::to_owned).collect() })
}

/// Finds the venture that a line of the menu means: its number, or its code.
#[must_use]
pub fn of_choice<'a>(line: &str, ventures: &'a [VentureView]) -> Option<&'a VentureView> {
    let line = line.trim();
    let numbered = line.parse::<usize>().ok().and_then(|number| ventures.get(number.checked_sub(1)?));
    numbered.or_else(|| find(line, ventures).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixture::ventures;

    #[test]
    fn l_10_case_does_not_matter_and_a_slip_gets_a_suggestion() {
        let all = ventures();
        assert_eq!(find("ALPHA", &all).unwrap().code, "alpha");
        let refusal = find("alpah", &all).unwrap_err();
        assert_eq!(refusal.why(), "venture `alpah` is not known; did you mean `alpha`?; known are: alpha, beta");
    }

    #[test]
    fn the_menu_takes_numbers_and_codes() {
        let all = ventures();
        let of = |line: &str| of_choice(line, &all).map(|venture| venture.code.as_str());
        assert_eq!(
            [of("1\n"), of(" 2 "), of("Beta"), of("0"), of("3"), of("")],
            [Some("alpha"), Some("beta"), Some("beta"), None, None, None]
        );
    }
}
