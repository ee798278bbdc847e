//! Plots in characters: braille cells of two columns by four dots, block elements, and a progress bar.

/// Bits of a braille character's left and right columns, bottom dot first (Unicode block U+2800).
const DOTS: [[u32; 4]; 2] = [[0x40, 0x04, 0x02, 0x01], [0x80, 0x20, 0x10, 0x08]];
const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Plots one vertical band per column of dots, from the left, in `rows` rows of braille.
///
/// A band spans two heights, from 0 (the bottom dot) to 1 (the top dot). `None` leaves the column empty.
pub(crate) fn bands(bands: &[Option<(f64, f64)>], rows: usize) -> Vec<String> {
    let dots = rows * 4;
    let dot = |height: f64| (height.clamp(0.0, 1.0) * (dots - 1) as f64).round() as usize;
    let cell = |pair: &[Option<(f64, f64)>], row: usize| {
        let mut bits = 0;
        for (band, column) in pair.iter().zip(DOTS) {
            let Some((from, to)) = *band else { continue };
            let lowest = (rows - 1 - row) * 4;
            let lit = |level: &usize| (dot(from)..=dot(to)).contains(&(lowest + level));
            bits |= (0..4).filter(lit).map(|level| column[level]).sum::<u32>();
        }
        // A space, not U+2800: trailing spaces are not sent, and some fonts draw U+2800 with empty circles.
        if bits == 0 { ' ' } else { char::from_u32(0x2800 + bits).unwrap_or(' ') }
    };
    (0..rows).map(|row| bands.chunks(2).map(|pair| cell(pair, row)).collect()).collect()
}

/// A sparkline: one block per value, in eighths of the largest. Zero has one eighth, so that the line stays visible.
pub(crate) fn spark(values: &[f64]) -> String {
    let most = values.iter().copied().fold(0.0, f64::max);
    let block = |value: &f64| match value / most {
        part if part > 0.0 => EIGHTHS[((part * 8.0).ceil() as usize).clamp(1, 8) - 1],
        _ => EIGHTHS[0],
    };
    values.iter().map(block).collect()
}

/// A progress bar of `width` columns as its filled and empty parts; `part` is clamped to 0 to 1.
pub(crate) fn gauge(part: f64, width: usize) -> (String, String) {
    let halves = (part.clamp(0.0, 1.0) * (width * 2) as f64).round() as usize;
    let half = if halves % 2 == 1 { "╸" } else { "" };
    ("━".repeat(halves / 2) + half, "─".repeat(width - halves.div_ceil(2)))
}

/// Rounds up to 1, 2 or 5 times a power of ten, for the end of an axis. 1 for values that are not positive and finite.
pub(crate) fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|&end| end >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_in_braille() {
        let rising: Vec<_> = (0..16).map(|n| Some((0.0, f64::from(n) / 15.0))).collect();
        assert_eq!(bands(&rising, 2), ["    ⣀⣤⣶⣿", "⣀⣤⣶⣿⣿⣿⣿⣿"]);
    }

    #[test]
    fn bands_span_their_heights() {
        assert_eq!(bands(&[Some((0.0, 0.0)), Some((1.0, 1.0))], 1), ["⡈"]);
        assert_eq!(bands(&[None, Some((0.0, 1.0)), None], 1), ["⢸ "]);
        assert_eq!(bands(&[Some((0.5, 2.0)), Some((-1.0, 0.4))], 2), ["⡇", "⢸"].map(str::to_owned));
        assert_eq!(bands(&[], 2), ["", ""]);
    }

    #[test]
    fn a_sparkline_in_eighths() {
        assert_eq!(spark(&[0.0, 1.0, 2.0, 4.0, 8.0]), "▁▁▂▄█");
        assert_eq!(spark(&[0.0, 0.0]), "▁▁");
        assert_eq!(spark(&[]), "");
    }

    #[test]
    fn gauges_fill_in_half_columns() {
        let shown = |part| {
            let (done, rest) = gauge(part, 4);
            done + &rest
        };
        assert_eq!(
            [0.0, 0.125, 0.5, 0.6, 1.0, 7.0].map(shown),
            ["────", "╸───", "━━──", "━━╸─", "━━━━", "━━━━"]
        );
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(
            [0.0, 0.7, 1.0, 1.1, 4_900.0, 106_000.0].map(round_up),
            [1.0, 1.0, 1.0, 2.0, 5_000.0, 200_000.0]
        );
    }
}
