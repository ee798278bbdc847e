//! Numbers for display: three significant digits, thousands separators, a unit.

/// Groups the digits of a whole number in threes: `28,232`.
pub fn count(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 && digits != "0" { format!("−{text}") } else { text }
}

/// Rounds to three significant digits: the measurements have no more precision.
pub fn three_digits(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let step = 10f64.powi(value.abs().log10().floor() as i32 - 2);
    (value / step).round() * step
}

/// A number with three significant digits and separators: `4.61`, `46.1`, `212,000`.
pub fn number(value: f64) -> String {
    let rounded = three_digits(value);
    match rounded.abs() {
        0.0 => "0".into(),
        size if size >= 100.0 => count(rounded),
        size => {
            let decimals = (2 - size.log10().floor() as i32).clamp(0, 4) as usize;
            let text = format!("{rounded:.decimals$}");
            let text =
                if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            text.replace('-', "−")
        }
    }
}

/// Bytes with a decimal prefix: `32 B`, `4.61 KB`, `1.2 GB`.
pub fn bytes(value: f64) -> String {
    let rounded = three_digits(value);
    let (divisor, unit) = match rounded.abs() {
        size if size >= 1e12 => (1e12, "TB"),
        size if size >= 1e9 => (1e9, "GB"),
        size if size >= 1e6 => (1e6, "MB"),
        size if size >= 1e3 => (1e3, "KB"),
        _ => (1.0, "B"),
    };
    format!("{} {unit}", number(rounded / divisor))
}

/// A limit in binary units, `512 MiB`; with a decimal prefix if it is not a whole number of mebibytes.
pub fn limit_bytes(value: u64) -> String {
    const MIB: u64 = 1 << 20;
    match value {
        0 => "0 B".into(),
        whole if whole.is_multiple_of(1024 * MIB) => format!("{} GiB", count((whole / (1024 * MIB)) as f64)),
        whole if whole.is_multiple_of(MIB) => format!("{} MiB", count((whole / MIB) as f64)),
        other => bytes(other as f64),
    }
}

/// A time in microseconds: `84 µs`, `1.24 ms`, `2 s`, and like [`time`] from a minute on.
pub fn micros(value: f64) -> String {
    match three_digits(value) {
        us if us.abs() >= 60e6 => whole_seconds(value / 1e6),
        us if us.abs() >= 1e6 => format!("{} s", number(us / 1e6)),
        us if us.abs() >= 1e3 => format!("{} ms", number(us / 1e3)),
        us => format!("{} µs", number(us)),
    }
}

/// A time in seconds: `44.9 ms`, `38.1 s`, `3 min 41 s`, `2 h 5 min`; `0 s` for none.
pub fn time(seconds: f64) -> String {
    if seconds == 0.0 { "0 s".into() } else { micros(seconds * 1e6) }
}

/// A minute or more, in the two largest units.
fn whole_seconds(value: f64) -> String {
    let two = |large: u64, unit, small: u64, rest| match small {
        0 => format!("{} {unit}", count(large as f64)),
        small => format!("{} {unit} {small} {rest}", count(large as f64)),
    };
    let seconds = value.round() as u64;
    let minutes = (value / 60.0).round() as u64;
    if seconds < 3_600 {
        two(seconds / 60, "min", seconds % 60, "s")
    } else {
        two(minutes / 60, "h", minutes % 60, "min")
    }
}

/// A rate per second: `0.5/s`, `212,000/s`.
pub fn per_s(rate: f64) -> String {
    format!("{}/s", number(rate))
}

/// A part of a whole, from 0 to 1: `13.2%`.
pub fn percent(part: f64) -> String {
    format!("{}%", number(part * 100.0))
}

/// A round number as the label of a narrow axis: `200k`, `1M`.
pub fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", number(value / 1e6)),
        value if value >= 1e3 => format!("{}k", number(value / 1e3)),
        value => number(value),
    }
}

/// Compares `after` with `before` in words: `3.64 times less`, `12% less`, `about the same`.
///
/// `words` are those for a decrease and an increase, such as `("less", "more")`.
pub fn change(before: f64, after: f64, words: (&str, &str)) -> String {
    let (larger, smaller, word) =
        if after < before { (before, after, words.0) } else { (after, before, words.1) };
    match larger / smaller {
        ratio if ratio < 1.03 => "about the same".into(),
        ratio if ratio < 1.5 => format!("{} {word}", percent((after / before - 1.0).abs())),
        ratio if ratio.is_finite() && smaller > 0.0 => format!("{} times {word}", number(ratio)),
        _ => word.into(),
    }
}

/// The text with a capital first letter.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators() {
        assert_eq!(count(0.0), "0");
        assert_eq!(count(999.0), "999");
        assert_eq!(count(28_232.0), "28,232");
        assert_eq!(count(1_000_000.4), "1,000,000");
        assert_eq!(count(-1_234.0), "−1,234");
        assert_eq!(count(-0.2), "0");
    }

    #[test]
    fn three_significant_digits() {
        assert_eq!(number(4.6149), "4.61");
        assert_eq!(number(99.96), "100");
        assert_eq!(number(212_345.0), "212,000");
        assert_eq!(number(0.034_56), "0.0346");
        assert_eq!(number(2.0), "2");
        assert_eq!(number(10.0), "10");
    }

    #[test]
    fn units() {
        assert_eq!(bytes(32.0), "32 B");
        assert_eq!(bytes(4_614.0), "4.61 KB");
        assert_eq!(bytes(999_900.0), "1 MB");
        assert_eq!(bytes(-4_096.0), "−4.1 KB");
        assert_eq!(micros(84.2), "84.2 µs");
        assert_eq!(micros(1_239.0), "1.24 ms");
        assert_eq!(micros(2_000_000.0), "2 s");
        assert_eq!([0.0, 0.0449, 38.0, 59.96, 60.4].map(time), ["0 s", "44.9 ms", "38 s", "1 min", "1 min"]);
        assert_eq!([221.2, 3_599.7, 7_530.0].map(time), ["3 min 41 s", "1 h", "2 h 6 min"]);
        assert_eq!(micros(64e6), "1 min 4 s");
        assert_eq!([32_549.0, 0.5].map(per_s), ["32,500/s", "0.5/s"]);
        assert_eq!([0.0, 0.001_234, 0.5].map(percent), ["0%", "0.123%", "50%"]);
        assert_eq!([500.0, 200_000.0, 2e6].map(short), ["500", "200k", "2M"]);
    }

    #[test]
    fn changes_in_words() {
        assert_eq!(change(20_000.0, 5_500.0, ("less", "more")), "3.64 times less");
        assert_eq!(change(5_500.0, 4_840.0, ("less", "more")), "12% less");
        assert_eq!(change(100.0, 102.0, ("less", "more")), "about the same");
        assert_eq!(change(100.0, 130.0, ("lower", "higher")), "30% higher");
        assert_eq!(change(4_600.0, 32.0, ("less", "more")), "144 times less");
    }
}
