//! The plot of memory against connections held.

use super::record::{Record, Run};
use super::verdict::whole;
use crate::report::STAGES;
use crate::report::format::{bytes, count};
use crate::report::plot::scale::{decade_ticks, round_ticks};
use crate::report::plot::{Axis, Compared, Plot, Series, conclude};
use crate::report::stats::Better;

/// Index of a colour that no stage has.
const KERNELS_COLOUR: usize = 5;
/// Lower bound of the lowest tick: every process uses more.
const LEAST_BYTES: f64 = 100_000.0;

/// One line per run that held a connection, and one for the kernel; `None` if no run did.
pub fn plot(record: &Record) -> Option<Plot> {
    let mut series: Vec<Series> = record.runs.iter().filter_map(stage).collect();
    if series.is_empty() {
        return None;
    }
    series.extend(kernel(record));
    let points = || series.iter().flat_map(|one| &one.points);
    let most = points().map(|point| point.0).fold(0.0, f64::max);
    let highest = points().map(|point| point.1).fold(0.0, f64::max);
    let lowest = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let labelled = |ticks: Vec<f64>, text: fn(f64) -> String| {
        ticks.into_iter().map(|tick| (tick, text(tick))).collect::<Vec<_>>()
    };
    let x = Axis {
        name: "connections, all in one process".into(),
        ticks: labelled(ticks_to(most), count),
        headroom: 0.0,
        logarithmic: false,
    };
    let y = Axis {
        name: "resident memory of the server (log scale)".into(),
        ticks: labelled(decade_ticks(lowest, highest, LEAST_BYTES), bytes),
        // Space for a label that is moved clear of the lines.
        headroom: if series.iter().any(|one| one.stop.is_some()) { 48.0 } else { 24.0 },
        logarithmic: true,
    };
    let parts: Vec<String> = series
        .iter()
        .map(|one| {
            let stop = one.stop.as_ref().map_or(String::new(), |stop| format!(", {stop}"));
            format!("{}{stop}", one.name)
        })
        .collect();
    let description = format!(
        "Resident memory of the server process against the connections it holds. {}.",
        parts.join("; ")
    );
    let of = ("million", "Connections held against memory");
    Some(Plot::lines(of, conclusion(record), description, (&x, &y), &series))
}

/// Compares the memory of the runs that held the most.
fn conclusion(record: &Record) -> String {
    let most = record.runs.iter().map(|run| run.held).max().unwrap_or_default();
    let equal = record.runs.iter().filter(|run| run.held == most);
    let compared = equal.filter_map(|run| {
        let value = run.memory.server_connected_bytes? as f64;
        Some(Compared { name: format!("Stage {}", run.stage), value })
    });
    let claim = format!("holds {} connections in {{}}", whole(most));
    conclude(&claim, Better::Lower, bytes, compared.collect())
}

/// Round numbers from 0, then `most` itself: the lines end where the axis ends.
fn ticks_to(most: f64) -> Vec<f64> {
    let mut ticks = round_ticks(most);
    // A tick closer to the end would overlap the last label.
    ticks.retain(|&tick| tick < most * 0.85);
    ticks.push(most);
    ticks
}

fn stage(run: &Run) -> Option<Series> {
    let connected = run.memory.server_connected_bytes.filter(|_| run.held > 0)?;
    let title = STAGES.get(usize::from(run.stage).checked_sub(1)?)?.title;
    let stop = run.stopped.as_ref().filter(|_| run.held < run.asked);
    Some(Series {
        colour: usize::from(run.stage) - 1,
        name: format!("stage {}: {}", run.stage, bytes(connected as f64)),
        note: title.into(),
        points: run.curve.iter().map(|point| (point.connections as f64, point.rss_bytes as f64)).collect(),
        stop: stop.map(|reason| format!("stopped at {}: {reason}", whole(run.held))),
        thin: false,
    })
}

/// Kernel memory of the server's sockets. It is the same for all stages without a thread per connection: taken from the
/// run that held the most, and among equals from the highest stage.
fn kernel(record: &Record) -> Option<Series> {
    let run = record.runs.iter().max_by_key(|run| (run.held, run.stage))?;
    let of_run = run.memory.kernel_bytes.filter(|&bytes| bytes as f64 > LEAST_BYTES)? as f64;
    let points = run
        .curve
        .iter()
        .filter_map(|point| Some((point.connections as f64, point.kernel_bytes? as f64)))
        // A logarithmic axis has no zero.
        .filter(|&(connections, bytes)| connections > 0.0 && bytes > LEAST_BYTES)
        .collect::<Vec<_>>();
    (!points.is_empty()).then(|| Series {
        colour: KERNELS_COLOUR,
        name: format!("kernel: {}", bytes(of_run)),
        note: format!("plus {} per connection", bytes(of_run / run.held.max(1) as f64)),
        points,
        stop: None,
        thin: true,
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn labels_the_memory_of_each_stage() {
        let plot = plot(&sample::record()).expect("a plot");
        let svg = plot.svg.alone(plot.name, plot.title, &plot.description);
        for text in ["stage 4: 12.9 MB", "stopped at 16,246: vm.max_map_count", "kernel: 3.92 GB", "10 GB"] {
            assert!(svg.contains(text), "{text} is missing");
        }
    }

    #[test]
    fn the_axis_ends_with_the_lines() {
        assert_eq!(ticks_to(1e6), [0.0, 250_000.0, 500_000.0, 750_000.0, 1e6]);
        assert_eq!(ticks_to(2_114.0), [0.0, 1_000.0, 2_114.0]);
    }

    #[test]
    fn draws_partial_records() {
        let mut record = sample::record();
        record.runs.truncate(1);
        record.runs[0].curve.truncate(2);
        assert!(plot(&record).is_some());
        record.runs[0].held = 0;
        assert!(plot(&record).is_none());
        record.runs.clear();
        assert!(plot(&record).is_none());
    }
}
