//! The figures as a table, each with its ratio to ours.

use crate::figures::Figures;

/// Renders a Markdown table. The first row is what the others are compared with.
pub(crate) fn render(rows: &[(&str, Option<Figures>)], changed: usize) -> String {
    let title = match changed {
        0 => "Nothing changed".to_owned(),
        changed => format!("{changed} changed on each side"),
    };
    let mut lines = vec![
        format!("| {title} | bytes A to B | bytes B to A | time | peak memory | of it while meeting |"),
        "|---|--:|--:|--:|--:|--:|".to_owned(),
    ];
    let reference = rows.first().and_then(|(_, figures)| *figures);
    for (engine, figures) in rows {
        lines.push(match (figures, reference) {
            (Some(figures), Some(reference)) => row(engine, figures, &reference),
            _ => format!("| {engine} | failed | | | | |"),
        });
    }
    lines.join("\n")
}

fn row(engine: &str, figures: &Figures, reference: &Figures) -> String {
    let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1_024.0);
    let milliseconds = format!("{:.2} ms", figures.micros as f64 / 1_000.0);
    let grown = |figures: &Figures| figures.peak_kib.saturating_sub(figures.before_kib);
    let cell = |text: String, own: u64, other: u64| format!("{text} ({})", ratio(own, other));
    [
        String::new(),
        engine.to_owned(),
        cell(grouped(figures.from_a), figures.from_a, reference.from_a),
        cell(grouped(figures.from_b), figures.from_b, reference.from_b),
        cell(milliseconds, figures.micros, reference.micros),
        cell(mib(figures.peak_kib), figures.peak_kib, reference.peak_kib),
        mib(grown(figures)),
        String::new(),
    ]
    .join(" | ")
    .trim()
    .to_owned()
}

/// A factor in two significant digits.
fn ratio(own: u64, other: u64) -> String {
    let factor = own as f64 / (other as f64).max(1.0);
    match factor {
        ..0.1 => format!("{factor:.3}x"),
        ..10.0 => format!("{factor:.2}x"),
        _ => format!("{}x", grouped(factor.round() as u64)),
    }
}

/// A number with a comma between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_ratios_keep_what_matters() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [(1, 1), (1, 3), (1, 50), (5_000, 2)].map(|(own, other)| ratio(own, other)),
            ["1.00x", "0.33x", "0.020x", "2,500x"]
        );
    }

    #[test]
    fn an_engine_that_failed_is_in_the_table() {
        let figures = Figures { from_a: 100, from_b: 50, micros: 2_000, before_kib: 1_024, peak_kib: 2_048 };
        let text = render(&[("ours", Some(figures)), ("other", None)], 0);
        assert!(text.ends_with("| other | failed | | | | |"), "{text}");
        assert!(
            text.contains("| ours | 100 (1.00x) | 50 (1.00x) | 2.00 ms (1.00x) | 2.0 MiB (1.00x) | 1.0 MiB |"),
            "{text}"
        );
    }
}
