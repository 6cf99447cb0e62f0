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
    use qrcode::Color;

    use super::*;

    /// How many light modules stand around a code, so that a camera finds its edge.
    const QUIET: usize = 4;

    /// Reads a picture back: for each row of modules which of them are dark. The text of a terminal is light.
    fn dark(picture: &str) -> Vec<Vec<bool>> {
        let row = |line: &str, lit: [char; 2]| line.chars().map(|found| !lit.contains(&found)).collect::<Vec<bool>>();
        picture.lines().flat_map(|line| [row(line, ['█', '▀']), row(line, ['█', '▄'])]).collect()
    }

    #[test]
    fn a_picture_holds_every_module_of_its_code_and_the_quiet_zone() {
        for text in ["ctxj-a".to_owned(), format!("ctxj-{}", "a1b2c3d4".repeat(20)), "x".repeat(1_000)] {
            let code = QrCode::with_error_correction_level(&text, EcLevel::L).unwrap();
            let (width, colors) = (code.width(), code.to_colors());
            let is_dark = |x: usize, y: usize| {
                let (x, y) = (x.checked_sub(QUIET)?, y.checked_sub(QUIET)?);
                (x < width && y < width).then(|| colors[y * width + x] == Color::Dark)
            };
            let side = width + 2 * QUIET;
            let row = |y: usize| (0..side).map(|x| is_dark(x, y).unwrap_or(false)).collect::<Vec<bool>>();
            let mut read = dark(&picture(&text).unwrap());
            // Two rows to a line of text: below the last one nothing is lit.
            let rest = read.split_off(side);
            assert_eq!(rest, vec![vec![true; side]; side % 2]);
            assert_eq!(read, (0..side).map(row).collect::<Vec<_>>(), "{text}");
        }
    }

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
