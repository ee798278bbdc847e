//! Linear regression by least squares.

/// The slope of a regression line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slope {
    pub slope: f64,
    /// The standard error of the slope, if the samples are independent.
    pub standard_error: f64,
}

impl Slope {
    /// The slope through points (x, y). `None` for fewer than three points, or if all have the same x.
    pub fn of(points: &[(f64, f64)]) -> Option<Slope> {
        let count = points.len() as f64;
        let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
        let sum = |term: &dyn Fn(f64, f64) -> f64| points.iter().map(|&(x, y)| term(x, y)).sum::<f64>();
        let spread = sum(&|x, _| (x - mean_x).powi(2));
        if points.len() < 3 || spread == 0.0 {
            return None;
        }
        let slope = sum(&|x, y| (x - mean_x) * (y - mean_y)) / spread;
        let residues = sum(&|x, y| (y - mean_y - slope * (x - mean_x)).powi(2));
        Some(Slope { slope, standard_error: (residues / (count - 2.0) / spread).sqrt() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_give_its_slope() {
        let points = [(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)];
        assert_eq!(Slope::of(&points), Some(Slope { slope: 2.0, standard_error: 0.0 }));
    }

    /// Anscombe's first data set: the slope is 0.500, its standard error 0.118.
    #[test]
    fn scattered_points_give_a_standard_error() {
        let x = [10.0, 8.0, 13.0, 9.0, 11.0, 14.0, 6.0, 4.0, 12.0, 7.0, 5.0];
        let y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68];
        let Slope { slope, standard_error } = Slope::of(&x.into_iter().zip(y).collect::<Vec<_>>()).unwrap();
        assert!((slope - 0.5001).abs() < 1e-4 && (standard_error - 0.1179).abs() < 1e-4);
    }

    #[test]
    fn too_few_points_give_none() {
        assert_eq!(Slope::of(&[(0.0, 1.0), (1.0, 3.0)]), None);
        assert_eq!(Slope::of(&[(1.0, 1.0), (1.0, 3.0), (1.0, 2.0)]), None);
    }
}
