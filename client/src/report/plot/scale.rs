//! From values to coordinates; ticks; label placement.

/// Maps `from..=to` to a range of pixels.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    from: f64,
    to: f64,
    pixels: (f64, f64),
    logarithmic: bool,
}

impl Scale {
    /// Equal steps for equal differences.
    pub fn linear(from: f64, to: f64, pixels: (f64, f64)) -> Self {
        Self { from, to, pixels, logarithmic: false }
    }

    /// Equal steps for equal ratios. Both ends must be above zero.
    pub fn logarithmic(from: f64, to: f64, pixels: (f64, f64)) -> Self {
        Self { from, to, pixels, logarithmic: true }
    }

    /// The pixel of a value; values outside are clamped to the edge.
    pub fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.from, self.to);
        let share = if self.logarithmic {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }
}

/// Round numbers from 0 up to just past `largest`, three to five of them.
pub fn round_ticks(largest: f64) -> Vec<f64> {
    if largest <= 0.0 || !largest.is_finite() {
        return vec![0.0, 1.0];
    }
    let power = 10f64.powf((largest / 4.0).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
    let step = steps.into_iter().find(|step| largest / step <= 4.0).unwrap_or(10.0 * power);
    (0..=(largest / step).ceil() as u32).map(|index| f64::from(index) * step).collect()
}

/// Powers of ten from at most `least` to at least `most`; none is below `floor`.
///
/// Over one or two decades, their multiples by 2 and 5 are added.
pub fn decade_ticks(least: f64, most: f64, floor: f64) -> Vec<f64> {
    let least = least.max(floor);
    let first = least.log10().floor() as i32;
    let last = (most.max(least * 1.01)).log10().ceil() as i32;
    let within = |tick: &f64| *tick >= floor;
    if last - first > 2 {
        return (first..=last).map(|power| 10f64.powi(power)).filter(within).collect();
    }
    let all: Vec<f64> =
        (first..last).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power))).collect();
    let end = 10f64.powi(last);
    let below = all.iter().rposition(|&tick| tick <= least).unwrap_or(0);
    let above = all.iter().position(|&tick| tick >= most);
    match above {
        Some(above) => all[below..=above].to_vec(),
        None => all[below..].iter().copied().chain([end]).collect(),
    }
}

/// Moves labels apart until they are at least `gap` from each other. Keeps their order, and stays within `bounds` if
/// they all fit.
pub fn spread(wanted: &[f64], gap: f64, bounds: (f64, f64)) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut placed = wanted.to_vec();
    // Each pass moves both labels of a pair by half the missing distance: a cluster spreads to both sides.
    for _ in 0..200 {
        for pair in order.windows(2) {
            let lacking = gap - (placed[pair[1]] - placed[pair[0]]);
            if lacking > 0.0 {
                placed[pair[0]] -= lacking / 2.0;
                placed[pair[1]] += lacking / 2.0;
            }
        }
        for place in &mut placed {
            *place = place.clamp(bounds.0, bounds.1);
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_map_their_ends_and_clamp() {
        let linear = Scale::linear(0.0, 50.0, (100.0, 200.0));
        assert_eq!(
            (linear.at(0.0), linear.at(25.0), linear.at(50.0), linear.at(99.0)),
            (100.0, 150.0, 200.0, 200.0)
        );
        let log = Scale::logarithmic(10.0, 1_000.0, (300.0, 0.0));
        assert!((log.at(100.0) - 150.0).abs() < 1e-9);
        assert_eq!(log.at(0.0), 300.0);
    }

    #[test]
    fn ticks_are_round_and_cover_the_range() {
        assert_eq!(round_ticks(9.0), [0.0, 2.5, 5.0, 7.5, 10.0]);
        assert_eq!(round_ticks(40_000.0), [0.0, 10_000.0, 20_000.0, 30_000.0, 40_000.0]);
        assert_eq!(round_ticks(0.0), [0.0, 1.0]);
        assert_eq!(decade_ticks(30_000.0, 6e8, 1e4), [1e4, 1e5, 1e6, 1e7, 1e8, 1e9]);
        assert_eq!(decade_ticks(130.0, 900.0, 1.0), [100.0, 200.0, 500.0, 1_000.0]);
        assert_eq!(decade_ticks(-5.0, 90_000.0, 1e4), [1e4, 2e4, 5e4, 1e5]);
    }

    #[test]
    fn labels_keep_their_distance() {
        let placed = spread(&[100.0, 102.0, 300.0], 40.0, (0.0, 400.0));
        assert!(placed[1] - placed[0] > 39.5 && placed[2] == 300.0, "{placed:?}");
        let crowded = spread(&[395.0, 399.0], 40.0, (0.0, 400.0));
        assert!(crowded[1] - crowded[0] > 39.0 && crowded[1] <= 400.0, "{crowded:?}");
    }
}
