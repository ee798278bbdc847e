//! The plots of a comparison and the figures they show.

use super::scale::decade_ticks;
use super::{Axis, Bar, Compared, Plot, Series, conclude};
use crate::report::format;
use crate::report::ladder::{Shown, held, shown};
use crate::report::metrics::metric;
use crate::report::results::{Level, OpenLoop, PERCENTILES, Results, Visit};
use crate::report::stats::median;

/// All plots that have data.
pub fn all(results: &Results) -> Vec<Plot> {
    let servers = shown(results);
    [memory(results, &servers), latency(results, &servers)]
        .into_iter()
        .flatten()
        .chain(BARS.iter().filter_map(|bars| bars.plot(results, &servers)))
        .collect()
}

/// Memory below one page is not drawn: it is noise, and zero has no logarithm.
const LEAST_BYTES: f64 = 4_096.0;

fn memory(results: &Results, servers: &[Shown]) -> Option<Plot> {
    let series: Vec<Series> = servers.iter().filter_map(|server| memory_series(results, server)).collect();
    let xs = || series.iter().flat_map(|one| one.points.iter().map(|point| point.0));
    let ys = || series.iter().flat_map(|one| one.points.iter().map(|point| point.1));
    let most = xs().reduce(f64::max)?;
    let mut ticks: Vec<f64> =
        results.settings.levels.iter().map(|&level| level as f64).filter(|&level| level <= most).collect();
    if ticks.last().is_none_or(|&last| last < most * 0.97) {
        ticks.push(most);
    }
    if let [only] = ticks[..] {
        ticks.insert(0, only / 10.0);
    }
    let lowest = ys().fold(f64::INFINITY, f64::min);
    let stops = series.iter().filter(|one| one.stop.is_some()).count();
    let highest = ys().fold(0.0, f64::max);
    let x = Axis {
        name: "connections, idle (log scale)".into(),
        ticks: ticks.into_iter().map(|tick| (tick, format::count(tick))).collect(),
        headroom: 0.0,
        logarithmic: true,
    };
    let y = Axis {
        name: "server's user memory above the empty process (log scale)".into(),
        ticks: labelled(decade_ticks(lowest, highest, 1_000.0), format::bytes),
        headroom: 24.0 + 48.0 * stops.saturating_sub(1) as f64,
        logarithmic: true,
    };
    let parts = series.iter().map(|one| {
        let stop = one.stop.as_ref().map_or(String::new(), |stop| format!(", {stop}"));
        format!("{}: {}{stop}", one.name, one.note)
    });
    let description = format!("User memory of each server against idle connections. {}.", list(parts));
    let conclusion =
        compare(results, servers, "user_bytes_per_connection_idle", "needs {} per idle connection");
    Some(Plot::lines(("memory", "Memory against connections"), conclusion, description, (&x, &y), &series))
}

/// The [conclusion](conclude) from a metric's medians.
fn compare(results: &Results, servers: &[Shown], key: &str, claim: &str) -> String {
    let metric = metric(key);
    let median = |server: &Shown| Some(metric.figure(results, &server.target)?.median);
    let compared = |server: &Shown| Some(Compared { name: server.short.clone(), value: median(server)? });
    conclude(claim, metric.better, metric.format, servers.iter().filter_map(compared).collect())
}

fn memory_series(results: &Results, server: &Shown) -> Option<Series> {
    let mut asked: Vec<u64> = results
        .visits_to(&server.target)
        .flat_map(|visit| visit.levels.iter().map(|level| level.asked))
        .collect();
    asked.sort_unstable();
    asked.dedup();
    let points: Vec<(f64, f64)> = asked
        .iter()
        .filter_map(|&asked| {
            let at = |value: fn(&Level) -> f64| {
                let levels = results.visits_to(&server.target).flat_map(|visit| &visit.levels);
                median(&levels.filter(|level| level.asked == asked).map(value).collect::<Vec<_>>())
            };
            Some((at(|level| level.open as f64)?, at(|level| level.idle_bytes as f64)?))
        })
        .filter(|&(_, bytes)| bytes >= LEAST_BYTES)
        .collect();
    let (most, stopped) = held(results, &server.target)?;
    let note = match metric("user_bytes_per_connection_idle").figure(results, &server.target) {
        Some(figure) => format!("{} per connection", format::bytes(figure.median)),
        None => String::new(),
    };
    let stop = stopped.map(|reason| format!("stopped at {}: {reason}", format::count(most)));
    (!points.is_empty()).then(|| Series {
        colour: server.colour,
        name: server.full(),
        note,
        points,
        stop,
        thin: false,
    })
}

fn latency(results: &Results, servers: &[Shown]) -> Option<Plot> {
    let series: Vec<Series> = servers.iter().filter_map(|server| latency_series(results, server)).collect();
    let ys = || series.iter().flat_map(|one| one.points.iter().map(|point| point.1));
    let lowest = ys().reduce(f64::min)?;
    let tail = series.iter().flat_map(|one| one.points.iter().map(|point| point.0)).fold(0.0, f64::max);
    let ticks = [(2.0, "50%"), (10.0, "90%"), (100.0, "99%"), (1e3, "99.9%"), (1e4, "99.99%")];
    let x = Axis {
        name: "share of messages echoed within this time".into(),
        ticks: ticks
            .iter()
            .filter(|tick| tick.0 <= tail * 1.01)
            .map(|(at, text)| (*at, (*text).into()))
            .collect(),
        headroom: 0.0,
        logarithmic: true,
    };
    let y = Axis {
        name: "time from due to echo (log scale)".into(),
        ticks: labelled(decade_ticks(lowest, ys().fold(0.0, f64::max), 1.0), format::micros),
        headroom: 12.0,
        logarithmic: true,
    };
    let rate = results
        .settings
        .open_rate
        .map_or(String::new(), |rate| format!(" at {} messages per second", format::number(rate)));
    let description = format!(
        "Distribution of latency in open loop{rate}, median of the rounds. {}.",
        list(series.iter().map(|one| format!("{}: {}", one.name, one.note)))
    );
    let conclusion = compare(results, servers, "open_loop_us_p99", "has the lowest p99, {}");
    Some(Plot::lines(("latency", "Latency under the same load"), conclusion, description, (&x, &y), &series))
}

fn latency_series(results: &Results, server: &Shown) -> Option<Series> {
    let runs: Vec<&OpenLoop> =
        results.visits_to(&server.target).filter_map(|visit: &Visit| visit.open_loop.as_ref()).collect();
    let samples = runs.iter().map(|run| run.latency.samples).min()? as f64;
    let points = PERCENTILES
        .iter()
        // At least one sample must lie above a percentile.
        .filter(|&&percentile| {
            (50.0..100.0).contains(&percentile) && samples * (1.0 - percentile / 100.0) >= 1.0
        })
        .filter_map(|&percentile| {
            let values: Vec<f64> = runs.iter().filter_map(|run| run.latency.at(percentile)).collect();
            Some((1.0 / (1.0 - percentile / 100.0), median(&values)?))
        })
        .collect::<Vec<_>>();
    let note = match metric("open_loop_us_p99").figure(results, &server.target) {
        Some(figure) => format!("p99 {}", format::micros(figure.median)),
        None => String::new(),
    };
    (!points.is_empty()).then(|| Series {
        colour: server.colour,
        name: server.full(),
        note,
        points,
        stop: None,
        thin: false,
    })
}

/// A plot with one bar per server.
struct Bars {
    name: &'static str,
    title: &'static str,
    axis: &'static str,
    /// The metric of a bar's length.
    total: &'static str,
    /// A metric added to it, drawn pale.
    pale: Option<&'static str>,
    /// A metric that is part of it, drawn in full colour; the rest is pale.
    full: Option<&'static str>,
    tick: fn(f64) -> String,
    /// See [`conclude`].
    claim: &'static str,
}

const BARS: [Bars; 4] = [
    Bars {
        name: "throughput",
        title: "Throughput",
        axis: "echoes per second, closed loop",
        total: "echoes_per_s",
        pale: None,
        full: None,
        tick: format::count,
        claim: "echoes the most, {} messages per second",
    },
    Bars {
        name: "connects",
        title: "Setting up connections",
        axis: "connections opened per second",
        total: "connects_per_s",
        pale: None,
        full: None,
        tick: format::count,
        claim: "opens the most, {} connections per second",
    },
    Bars {
        name: "cpu",
        title: "CPU time per echo",
        axis: "µs per echo: user space (full), kernel (pale)",
        total: "cpu_us_per_echo",
        pale: None,
        full: Some("user_cpu_us_per_echo"),
        tick: format::number,
        claim: "takes the least, {} per echo",
    },
    Bars {
        name: "cost",
        title: "What an idle connection costs",
        axis: "memory: user space (full), kernel (pale)",
        total: "user_bytes_per_connection_idle",
        pale: Some("kernel_bytes_per_connection"),
        full: None,
        tick: format::bytes,
        claim: "costs the least, {} with the kernel's part",
    },
];

impl Bars {
    fn plot(&self, results: &Results, servers: &[Shown]) -> Option<Plot> {
        let bars: Vec<Bar> = servers.iter().map(|server| self.bar(results, server)).collect();
        if bars.iter().all(|bar| bar.value.is_none()) {
            return None;
        }
        let compared = servers
            .iter()
            .zip(&bars)
            .filter_map(|(server, bar)| Some(Compared { name: server.short.clone(), value: bar.value? }));
        let metric = metric(self.total);
        let conclusion = conclude(self.claim, metric.better, metric.format, compared.collect());
        Some(Plot::bars((self.name, self.title), conclusion, self.axis, &bars, self.tick))
    }

    fn bar(&self, results: &Results, server: &Shown) -> Bar {
        let total = metric(self.total);
        let median_of = |key| Some(metric(key).figure(results, &server.target)?.median);
        let figure = total.figure(results, &server.target);
        let pale = self.pale.and_then(median_of);
        let value = figure.as_ref().map(|figure| figure.median + pale.unwrap_or_default());
        let part = match self.pale {
            Some(_) => figure.as_ref().map(|figure| figure.median),
            None => self.full.and_then(median_of),
        };
        let rounds =
            figure.map_or(Vec::new(), |figure| if pale.is_some() { Vec::new() } else { figure.rounds });
        let label = value.map_or_else(|| "not measured".into(), total.format);
        Bar { colour: server.colour, name: server.full(), value, label, part, rounds }
    }
}

fn labelled(ticks: Vec<f64>, text: fn(f64) -> String) -> Vec<(f64, String)> {
    ticks.into_iter().map(|tick| (tick, text(tick))).collect()
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join("; ")
}
