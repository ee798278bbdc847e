//! What the plots show of a run.

use super::*;

fn progress(connected: u64, echoes: u64) -> Progress {
    Progress { connected, echoes, ..Progress::default() }
}

fn rates(history: &History) -> Vec<f64> {
    history.latest(usize::MAX).map(|slice| slice.per_s).collect()
}

#[test]
fn a_rate_is_per_second_of_the_slices_own_length() {
    let start = Instant::now();
    let mut history = History::new(start);
    let at = |ms| start + Duration::from_millis(ms);
    assert!(!history.add(at(100), &progress(50, 50), 0));
    assert_eq!(history.rates_per_s(), (500.0, 500.0), "before a slice is complete");
    assert!(history.add(at(200), &progress(100, 100), 7));
    assert!(history.add(at(600), &progress(100, 1_100), 9));
    assert!(history.add(at(800), &progress(100, 1_300), 9));
    assert_eq!(rates(&history), [500.0, 2_500.0, 1_000.0]);
    assert_eq!(history.latest(2).count(), 2);
    assert_eq!(history.rates_per_s(), (4_000.0 / 3.0, 2_500.0));
}

#[test]
fn a_phase_shows_nothing_of_earlier_phases() {
    let start = Instant::now();
    let mut history = History::new(start);
    let at = |ms| start + Duration::from_millis(ms);
    let with = |handshakes: &[u64], latencies: &[u64], connected, echoes| {
        let times = |all: &[u64]| Times::of(all.iter().map(|&ms| Duration::from_millis(ms)));
        let (handshakes, latencies) = (times(handshakes), times(latencies));
        Progress { handshakes, latencies, ..progress(connected, echoes) }
    };
    let near = |history: &History, ms: f64| {
        let [p50, _, longest] = history.times_us().expect("times");
        [p50, longest].iter().all(|us| (us / 1e3 / ms - 1.0).abs() < 0.07)
    };
    history.begin(Counted::Connects, None);
    history.start(at(0), &progress(0, 0));
    assert!(history.add(at(200), &with(&[30, 30], &[], 900, 0), 0));
    // The last reading of a phase counts, though it completes no slice.
    assert!(!history.add(at(300), &with(&[30, 30, 30], &[], 1_000, 0), 0));
    assert!(near(&history, 30.0) && history.rates_per_s() == (4_500.0, 4_500.0));
    // Idle: nothing is echoed, though connections open.
    history.begin(Counted::Echoes, None);
    assert_eq!((history.rates_per_s(), history.times_us()), ((0.0, 0.0), None));
    history.start(at(400), &with(&[30; 3], &[], 1_000, 0));
    assert!(history.add(at(600), &with(&[30; 9], &[], 1_700, 0), 0));
    assert_eq!((history.rates_per_s(), history.times_us()), ((0.0, 0.0), None));
    assert_eq!(rates(&history), [0.0, 0.0]);
    // Echoes: a thousand per second in the warm-up, a hundred after it, at 4 ms each.
    history.begin(Counted::Echoes, None);
    history.start(at(600), &with(&[30; 9], &[], 1_000, 0));
    assert!(history.add(at(1_600), &with(&[30; 9], &[], 1_000, 1_000), 0));
    assert_eq!(history.rates_per_s(), (1_000.0, 1_000.0));
    history.end_warmup(at(1_700), &with(&[30; 9], &[4], 1_000, 1_100), None);
    assert_eq!(history.rates_per_s(), (0.0, 0.0));
    assert!(history.add(at(2_700), &with(&[30; 9], &[4; 9], 1_000, 1_200), 0));
    assert!(near(&history, 4.0) && history.rates_per_s() == (100.0, 100.0));
    assert_eq!(history.progress().0.latencies.quantile_us(0.5), None, "none was recorded before");
    // Closing; and a phase that connects does not count connections that close.
    history.begin(Counted::Closes, None);
    history.start(at(3_000), &with(&[30; 9], &[4; 9], 1_000, 1_200));
    assert!(history.add(at(4_000), &with(&[30; 9], &[4; 9], 100, 1_200), 0));
    assert_eq!((history.rates_per_s(), history.times_us()), ((900.0, 900.0), None));
    history.begin(Counted::Connects, None);
    history.start(at(4_000), &with(&[30; 9], &[4; 9], 1_000, 0));
    assert!(history.add(at(5_000), &with(&[30; 9], &[4; 9], 100, 0), 0));
    assert_eq!(history.rates_per_s(), (0.0, 0.0));
}

fn push(history: &mut History, slices: std::ops::Range<usize>) {
    for n in slices {
        let from_s = n as f64 * COLUMN_S;
        history.push([from_s, from_s + COLUMN_S], Slice { per_s: n as f64, ..Slice::default() });
    }
}

fn plotted(history: &History, columns: usize) -> Vec<Option<f64>> {
    history.plotted(columns).iter().map(|slice| slice.map(|slice| slice.per_s)).collect()
}

#[test]
fn the_number_of_slices_is_bounded() {
    let mut history = History::new(Instant::now());
    push(&mut history, 0..2 * KEPT);
    assert_eq!(history.latest(usize::MAX).count(), KEPT);
    assert_eq!(history.latest(1).next().map(|slice| slice.per_s), Some(2.0 * KEPT as f64 - 1.0));
    assert_eq!(
        (plotted(&history, 5)[4], history.span(5)),
        (Some(2.0 * KEPT as f64 - 1.0), "last 1 s".into())
    );
}

#[test]
fn plots_stretch_to_a_known_duration() {
    let mut history = History::new(Instant::now());
    history.begin(Counted::Echoes, Some(Duration::from_secs(2)));
    push(&mut history, 0..5);
    let half = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4].map(|n| Some(f64::from(n)));
    assert_eq!(plotted(&history, 20), [half, [None; 10]].concat(), "half of it is over");
    push(&mut history, 5..10);
    assert_eq!(plotted(&history, 5), [0.5, 2.5, 4.5, 6.5, 8.5].map(Some), "of two, the mean");
    assert_eq!(history.span(5), "0 to 2 s");
    // An hour has as many slices as fit.
    history.expect(Some(Duration::from_secs(3_600)));
    push(&mut history, 10..18_000);
    assert!((KEPT / 2..=KEPT).contains(&history.slices.len()));
    let hour = plotted(&history, 60);
    assert!(hour.iter().flatten().is_sorted() && hour.iter().all(Option::is_some), "{hour:?}");
    // A phase of unknown duration shows the latest slices, and nothing right of them.
    history.expect(None);
    assert_eq!(plotted(&history, 4)[3], Some(17_999.0));
    assert_eq!(plotted(&History::new(Instant::now()), 3), [None; 3]);
}
