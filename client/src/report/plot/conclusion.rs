//! What to see in a plot, in one sentence.

use crate::report::format;
use crate::report::stats::Better;

/// One of the servers or results that a plot compares.
pub struct Compared {
    /// Its name, as in a heading.
    pub name: String,
    /// Its value.
    pub value: f64,
}

/// Compares the best with the next and with the last.
///
/// `claim` is the predicate, with `{}` for the value: `needs {} per connection`. Empty without a value.
pub fn conclude(claim: &str, better: Better, text: fn(f64) -> String, mut all: Vec<Compared>) -> String {
    all.retain(|one| one.value.is_finite());
    all.sort_by(|one, other| match better {
        Better::Lower => one.value.total_cmp(&other.value),
        Better::Higher => other.value.total_cmp(&one.value),
    });
    let Some((best, others)) = all.split_first() else { return String::new() };
    let claim = format!("{} {}", best.name, claim.replace("{}", &text(best.value)));
    let next = others.first().map(|other| against(best, other));
    let last = others.get(1..).and_then(<[Compared]>::last).map(|other| against(best, other));
    match (next, last) {
        (Some(next), Some(last)) => format!("{claim}: {next}, and {last}."),
        (Some(next), None) => format!("{claim}: {next}."),
        _ => format!("{claim}."),
    }
}

fn against(best: &Compared, other: &Compared) -> String {
    let change = format::change(other.value, best.value, ("less", "more"));
    let than = if change == "about the same" { "as" } else { "than" };
    format!("{change} {than} {}", other.name.replace("Stage ", "stage "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conclusion(better: Better, values: &[(&str, f64)]) -> String {
        let all = values.iter().map(|&(name, value)| Compared { name: name.into(), value });
        conclude("needs {} per connection", better, format::bytes, all.collect())
    }

    #[test]
    fn the_best_is_compared_with_the_next_and_the_last() {
        let stages = [("Stage 1", 18_000.0), ("Stage 3", 3_700.0), ("Stage 4", 10.0)];
        assert_eq!(
            conclusion(Better::Lower, &stages),
            "Stage 4 needs 10 B per connection: 370 times less than stage 3, and 1,800 times less than stage 1."
        );
        assert_eq!(
            conclusion(Better::Higher, &stages[1..]),
            "Stage 3 needs 3.7 KB per connection: 370 times more than stage 4."
        );
    }

    #[test]
    fn little_differences_and_missing_values() {
        assert_eq!(
            conclusion(Better::Lower, &[("a", 100.0), ("b", 101.0), ("c", f64::NAN)]),
            "a needs 100 B per connection: about the same as b."
        );
        assert_eq!(conclusion(Better::Lower, &[("a", 100.0)]), "a needs 100 B per connection.");
        assert_eq!(conclusion(Better::Lower, &[]), "");
    }
}
