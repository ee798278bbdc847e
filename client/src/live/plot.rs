//! Plots out of characters: a block of braille with two columns of four dots in each, and a line of eighths.

/// The dots of the left and the right column of a braille character, from the lowest up (Unicode, U+2800).
const DOTS: [[u32; 4]; 2] = [[0x40, 0x04, 0x02, 0x01], [0x80, 0x20, 0x10, 0x08]];
const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws bands, one in each column of dots from the left, into `rows` rows of characters.
///
/// A band goes from one height to another, both from 0 to 1; at a height of 1 it is at the very top. `None` leaves the
/// column empty.
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
        // An empty cell is a blank, which is not drawn at the end of a row, and in no font has dots.
        if bits == 0 { ' ' } else { char::from_u32(0x2800 + bits).unwrap_or(' ') }
    };
    (0..rows).map(|row| bands.chunks(2).map(|pair| cell(pair, row)).collect()).collect()
}

/// Draws values as blocks of up to eight eighths, the largest full; 0 is the lowest.
pub(crate) fn spark(values: &[f64]) -> String {
    let most = values.iter().copied().fold(0.0, f64::max);
    let block = |value: &f64| match value / most {
        part if part > 0.0 => EIGHTHS[((part * 8.0).ceil() as usize).clamp(1, 8) - 1],
        _ => EIGHTHS[0],
    };
    values.iter().map(block).collect()
}

/// A bar of `width` columns of which this part, from 0 to 1, is done; what is done and what is not.
pub(crate) fn gauge(part: f64, width: usize) -> (String, String) {
    let halves = (part.clamp(0.0, 1.0) * (width * 2) as f64).round() as usize;
    let half = if halves % 2 == 1 { "╸" } else { "" };
    ("━".repeat(halves / 2) + half, "─".repeat(width - halves.div_ceil(2)))
}

/// The least of 1, 2 and 5 times a power of ten that is no less: where an axis from zero ends.
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
    fn an_area_of_braille() {
        let rising: Vec<_> = (0..16).map(|n| Some((0.0, f64::from(n) / 15.0))).collect();
        assert_eq!(bands(&rising, 2), ["    ⣀⣤⣶⣿", "⣀⣤⣶⣿⣿⣿⣿⣿"]);
    }

    #[test]
    fn a_band_stands_where_it_should() {
        assert_eq!(bands(&[Some((0.0, 0.0)), Some((1.0, 1.0))], 1), ["⡈"]);
        assert_eq!(bands(&[None, Some((0.0, 1.0)), None], 1), ["⢸ "]);
        assert_eq!(bands(&[Some((0.5, 2.0)), Some((-1.0, 0.4))], 2), ["⡇", "⢸"].map(str::to_owned));
        assert_eq!(bands(&[], 2), ["", ""]);
    }

    #[test]
    fn a_line_of_eighths() {
        assert_eq!(spark(&[0.0, 1.0, 2.0, 4.0, 8.0]), "▁▁▂▄█");
        assert_eq!(spark(&[0.0, 0.0]), "▁▁");
        assert_eq!(spark(&[]), "");
    }

    #[test]
    fn gauges_fill_by_halves() {
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
