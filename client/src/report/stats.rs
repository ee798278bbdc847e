//! Median and best round of a figure.

use super::results::Results;

/// Which end of the scale is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less is better: memory, latency.
    Lower,
    /// More is better: rates.
    Higher,
}

/// One figure over all rounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The values in the order of the rounds.
    pub rounds: Vec<f64>,
    /// The median; for an even number of rounds, the mean of the middle two.
    pub median: f64,
    /// The best value: on a machine with other load, the one that it distorts least.
    pub best: f64,
}

impl Figure {
    /// Summarizes the rounds; `None` if there are none.
    pub fn new(rounds: Vec<f64>, better: Better) -> Option<Self> {
        let median = median(&rounds)?;
        let best = match better {
            Better::Lower => rounds.iter().copied().fold(f64::INFINITY, f64::min),
            Better::Higher => rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        };
        Some(Self { rounds, median, best })
    }
}

/// The median; `None` for an empty slice.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        even if even.is_multiple_of(2) => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

impl Results {
    /// How much of the processors' time others took, in the median; `None` where it is little or not known.
    pub fn disturbance(&self) -> Option<f64> {
        /// Less than this is normal on a quiescent machine.
        const MUCH: f64 = 0.05;
        let shares: Vec<f64> = self.visits.iter().filter_map(|visit| visit.others_cpu_share).collect();
        median(&shares).filter(|&share| share > MUCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn best_depends_on_the_direction() {
        let rounds = vec![3.0, 1.0, 2.0];
        assert_eq!(Figure::new(rounds.clone(), Better::Lower).unwrap().best, 1.0);
        let figure = Figure::new(rounds, Better::Higher).unwrap();
        assert_eq!((figure.best, figure.median), (3.0, 2.0));
        assert_eq!(Figure::new(Vec::new(), Better::Lower), None);
    }
}
