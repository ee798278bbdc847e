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

/// A duration in microseconds: `84 µs`, `1.24 ms`, `2 s`.
pub fn micros(value: f64) -> String {
    match three_digits(value) {
        us if us.abs() >= 1e6 => format!("{} s", number(us / 1e6)),
        us if us.abs() >= 1e3 => format!("{} ms", number(us / 1e3)),
        us => format!("{} µs", number(us)),
    }
}

/// A duration in seconds, from one minute on in whole seconds: `3 min 41 s`.
pub fn seconds(value: f64) -> String {
    let whole = value.round() as u64;
    match (whole / 60, whole % 60) {
        (0, _) => format!("{} s", number(value)),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, rest) => format!("{minutes} min {rest} s"),
    }
}

/// Compares `after` with `before` in words: `3.6 times less`, `12% less`, `about the same`.
///
/// `words` are those for a decrease and an increase, such as `("less", "more")`.
pub fn change(before: f64, after: f64, words: (&str, &str)) -> String {
    let (larger, smaller, word) =
        if after < before { (before, after, words.0) } else { (after, before, words.1) };
    match larger / smaller {
        ratio if ratio < 1.03 => "about the same".into(),
        ratio if ratio < 1.5 => format!("{:.0}% {word}", (after / before - 1.0).abs() * 100.0),
        ratio if ratio.is_finite() && smaller > 0.0 => format!("{} times {word}", two_digits(ratio)),
        _ => word.into(),
    }
}

fn two_digits(ratio: f64) -> String {
    let step = 10f64.powi(ratio.log10().floor() as i32 - 1);
    number((ratio / step).round() * step)
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
        assert_eq!(seconds(221.2), "3 min 41 s");
        assert_eq!(seconds(38.0), "38 s");
    }

    #[test]
    fn changes_in_words() {
        assert_eq!(change(20_000.0, 5_500.0, ("less", "more")), "3.6 times less");
        assert_eq!(change(5_500.0, 4_840.0, ("less", "more")), "12% less");
        assert_eq!(change(100.0, 102.0, ("less", "more")), "about the same");
        assert_eq!(change(100.0, 130.0, ("lower", "higher")), "30% higher");
        assert_eq!(change(4_600.0, 32.0, ("less", "more")), "140 times less");
    }
}
