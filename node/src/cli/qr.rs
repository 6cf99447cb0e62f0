//! A text as a picture that a phone or another machine's camera reads, in half blocks of a terminal.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// Returns the picture, for light text on a dark ground; `None` for a text that no picture holds.
pub(super) fn picture(text: &str) -> Option<String> {
    // The lowest level keeps it small: a terminal has no scratches.
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_fits_a_terminal() {
        let picture = picture(&format!("ctxj-{}", "a1b2c3d4".repeat(20))).unwrap();
        let widths: Vec<usize> = picture.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{widths:?}");
        // Two modules to a line of text.
        assert!(widths[0] <= 80 && widths.len() == widths[0].div_ceil(2), "{} x {}", widths[0], widths.len());
        assert!(picture.chars().all(|c| matches!(c, '█' | '▀' | '▄' | ' ' | '\n')));
    }

    #[test]
    fn a_text_that_is_too_long_has_no_picture() {
        assert_eq!(picture(&"x".repeat(10_000)), None);
    }
}
