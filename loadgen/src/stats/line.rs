//! A line through points of which some are far off: memory over connections, on a machine where other things happen too. Imports nothing.

/// Points below which there is no line.
const POINTS_MIN: usize = 5;

/// A robust line, by Theil and Sen: up to 29 % of the points may be anywhere without bending it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// The median of the slopes of all pairs of points: y per x.
    pub slope: f64,
    /// The median distance of the points from the line, in y.
    pub residual: f64,
}

impl Line {
    /// The line through points (x, y), all finite; `None` below five points, or where all have one x.
    pub fn fit(points: &[(f64, f64)]) -> Option<Line> {
        if points.len() < POINTS_MIN {
            return None;
        }
        let pairs = points.iter().enumerate().flat_map(|(index, a)| points[index + 1..].iter().map(move |b| (a, b)));
        let slope = median(pairs.filter(|(a, b)| a.0 != b.0).map(|(a, b)| (b.1 - a.1) / (b.0 - a.0)))?;
        let intercept = median(points.iter().map(|(x, y)| y - slope * x))?;
        let residual = median(points.iter().map(|(x, y)| (y - slope * x - intercept).abs()))?;
        Some(Line { slope, residual })
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[values.len() / 2 - 1], upper) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_line_through_too_little() {
        let points: Vec<(f64, f64)> = (0..5).map(|x| (f64::from(x), 1.0)).collect();
        assert_eq!(Line::fit(&points[..4]), None);
        assert_eq!(Line::fit(&points), Some(Line { slope: 0.0, residual: 0.0 }));
        assert_eq!(Line::fit(&[(3.0, 1.0); 9]), None);
    }

    #[test]
    fn medians() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([9.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([9.0, 1.0, 2.0, 4.0].into_iter()), Some(3.0));
    }

    proptest! {
        #[test]
        fn outliers_do_not_bend_it(slope in -9_000..9_000i32, intercept in -1_000_000..1_000_000i32, wrong in prop::collection::vec((0..10usize, -1e12..1e12f64), 0..3)) {
            let (slope, intercept) = (f64::from(slope), f64::from(intercept));
            let mut points: Vec<(f64, f64)> = (0..10).map(|step| f64::from(step) * 1000.0).map(|x| (x, intercept + slope * x)).collect();
            for (place, y) in wrong {
                points[place].1 = y;
            }
            prop_assert_eq!(Line::fit(&points), Some(Line { slope, residual: 0.0 }));
        }

        #[test]
        fn noise_shows_as_residual(noise in prop::collection::vec(-50.0..50.0f64, 20)) {
            let points: Vec<(f64, f64)> = noise.iter().enumerate().map(|(index, noise)| (index as f64 * 100.0, 8.0 * index as f64 * 100.0 + noise)).collect();
            let line = Line::fit(&points);
            prop_assert!(line.is_some_and(|line| (line.slope - 8.0).abs() <= 1.0 && line.residual <= 100.0), "{line:?}");
        }
    }
}
