//! The plots of results.

use super::super::plot::scale::{decade_ticks, round_ticks};
use super::super::plot::{Axis, Bar, COLOUR_COUNT, Compared, Plot, Series, conclude};
use super::super::stats::{Better, median};
use super::super::{format, results::PERCENTILES};
use super::figures::{by_key, echo, find, run};
use super::read::Loaded;
use crate::results::SecondReport;

/// More lines than this have no room for a second one each.
const MOST_PAIRS: usize = 3;
/// The colour of lines that are no result.
const REFERENCE_COLOUR: usize = 5;
/// Times are drawn from here on: the scale is logarithmic.
const LEAST_US: f64 = 1.0;

/// All plots that have data.
pub(super) fn all(results: &[Loaded]) -> Vec<Plot> {
    let views = [Over::Rate("echo"), Over::Rate("connect"), Over::Time];
    let seconds = views.iter().flat_map(|view| [view.latency(results), view.achieved(results)]);
    let lines = [found(results)].into_iter().chain(seconds).chain([percentiles(results)]);
    lines.flatten().chain(BARS.iter().filter_map(|bars| bars.plot(results))).collect()
}

/// What the seconds of a run are drawn over.
enum Over {
    /// The rate at which messages (`echo`) or connections (`connect`) were due, where it rises.
    Rate(&'static str),
    /// The time, for messages at another rate.
    Time,
}

impl Over {
    /// The seconds of a result, if they belong in this view: without those in which nothing was due any more.
    fn seconds<'a>(&self, result: &'a Loaded) -> Vec<&'a SecondReport> {
        let Some(run) = run(result) else { return Vec::new() };
        let (phase, is_shown) = match self {
            Over::Rate("connect") => ("connect", run.connect_ramp.is_some()),
            Over::Rate(phase) => (*phase, run.ramp.is_some()),
            Over::Time => ("echo", run.ramp.is_none()),
        };
        let seconds = run.seconds.iter().filter(|second| second.phase == phase && second.due != Some(0));
        seconds.filter(|_| is_shown).collect()
    }

    fn at(&self, second: &SecondReport) -> f64 {
        match self {
            Over::Rate(_) => second.due_per_s.unwrap_or_default(),
            Over::Time => second.time_s,
        }
    }

    /// What is counted: messages or connections.
    fn nouns(&self) -> (&'static str, &'static str) {
        match self {
            Over::Rate("connect") => ("connections", "handshake"),
            _ => ("messages", "latency"),
        }
    }

    fn axis(&self, points: &[Series]) -> Axis {
        let name = match self {
            Over::Rate(_) => format!("{} due per second", self.nouns().0),
            Over::Time => "seconds".into(),
        };
        linear(name, points.iter().flat_map(|one| one.points.iter().map(|point| point.0)))
    }

    /// Median and 99th percentile of every second.
    fn latency(&self, results: &[Loaded]) -> Option<Plot> {
        let shown: Vec<_> = results.iter().filter(|one| self.seconds(one).len() > 1).collect();
        let mut series = Vec::new();
        for one in &shown {
            let line = |name: &str, of: fn(&SecondReport) -> Option<f64>, thin| {
                let seconds = self.seconds(one);
                let points = seconds.iter().filter_map(|row| Some((self.at(row), of(row)?.max(LEAST_US))));
                let points: Vec<_> = points.collect();
                let last = points.last().map_or(String::new(), |point| format::micros(point.1));
                let name = format!("{} {name}", one.name);
                Series {
                    colour: one.colour,
                    name,
                    note: format!("{last} at the end"),
                    points,
                    stop: None,
                    thin,
                }
            };
            series.push(line("p99", |row| row.latency.p99_us, false));
            if shown.len() <= MOST_PAIRS {
                series.push(line("p50", |row| row.latency.p50_us, true));
            }
        }
        let y = times(format!("{} (log scale)", self.nouns().1), &series)?;
        let (name, title) = match self {
            Over::Rate("connect") => ("ramp-handshake", "Handshake against the rate of connections"),
            Over::Rate(_) => ("ramp-latency", "Latency against the rate"),
            Over::Time => ("seconds-latency", "Latency over time"),
        };
        let description = format!("{title}: median and 99th percentile of every second. {}.", ends(&series));
        let worst = compared(shown.iter().copied(), |one| {
            self.seconds(one).iter().filter_map(|row| row.latency.p99_us).reduce(f64::max)
        });
        let conclusion =
            conclude("has a p99 of at most {} in every second", Better::Lower, format::micros, worst);
        Some(Plot::lines((name, title), conclusion, description, (&self.axis(&series), &y), &series))
    }

    /// What was done of what was due.
    fn achieved(&self, results: &[Loaded]) -> Option<Plot> {
        let of = |row: &SecondReport| match self {
            Over::Rate("connect") => row.opened,
            _ => row.echoes,
        };
        let shown = results.iter().filter(|one| self.seconds(one).len() > 1);
        let per_s = |row: &SecondReport| of(row) as f64 / row.elapsed_s.max(1e-3);
        let most_of = |one: &Loaded| self.seconds(one).into_iter().map(per_s).reduce(f64::max);
        let mosts = compared(shown.clone(), most_of);
        let mut series: Vec<Series> = shown
            .map(|one| {
                let points = self.seconds(one).into_iter().map(|row| (self.at(row), per_s(row))).collect();
                let most = most_of(one).unwrap_or_default();
                let note = format!("{} at most", format::per_s(most));
                Series { colour: one.colour, name: one.name.clone(), note, points, stop: None, thin: false }
            })
            .collect();
        let most = series.iter().flat_map(|one| &one.points).map(|point| point.0).reduce(f64::max)?;
        if matches!(self, Over::Rate(_)) {
            let (name, note) = ("due".into(), format!("{} at the end", format::per_s(most)));
            let points = vec![(0.0, 0.0), (most, most)];
            series.push(Series { colour: REFERENCE_COLOUR, name, note, points, stop: None, thin: true });
        }
        let ys = series.iter().flat_map(|one| one.points.iter().map(|point| point.1));
        let (name, title, done) = match self {
            Over::Rate("connect") => ("ramp-connects", "Connections opened against due", "opened"),
            Over::Rate(_) => ("ramp-echoes", "Echoes against messages due", "echoes"),
            Over::Time => ("seconds-echoes", "Echoes over time", "echoes"),
        };
        let y = linear(format!("{done} per second"), ys);
        let claim = match self {
            Over::Rate("connect") => "opens up to {} connections per second",
            _ => "echoes up to {} messages per second",
        };
        let description = format!("{title}, in every second. {}.", ends(&series));
        let conclusion = conclude(claim, Better::Higher, format::number, mosts);
        Some(Plot::lines((name, title), conclusion, description, (&self.axis(&series), &y), &series))
    }
}

/// The steps of searches: the 99th percentile against the rate, and the bound.
fn found(results: &[Loaded]) -> Option<Plot> {
    let mut series = Vec::new();
    for (one, report) in results.iter().filter_map(|one| Some((one, find(one)?))) {
        let mut rates: Vec<f64> =
            report.steps.iter().map(|step| step.rate_per_s).filter(|&rate| rate > 0.0).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        let p99 = |rate: f64| {
            let steps = report.steps.iter().filter(|step| step.rate_per_s == rate);
            median(&steps.filter_map(|step| step.latency.p99_us).collect::<Vec<_>>())
        };
        let points = rates.into_iter().filter_map(|rate| Some((rate, p99(rate)?.max(LEAST_US))));
        let note = match &report.found {
            Some(found) => format!("{} held", format::per_s(found.rate_per_s)),
            None => "no rate held".into(),
        };
        let points = points.collect();
        series.push(Series {
            colour: one.colour,
            name: one.name.clone(),
            note,
            points,
            stop: None,
            thin: false,
        });
    }
    let xs = || series.iter().flat_map(|one| one.points.iter().map(|point| point.0));
    let (least, most) = (xs().reduce(f64::min)?, xs().reduce(f64::max)?);
    let x = Axis {
        name: "messages due per second (log scale)".into(),
        ticks: labelled(ticks_between(least, most)?, format::number),
        headroom: 0.0,
        logarithmic: true,
    };
    let mut bounds: Vec<f64> = results.iter().filter_map(|one| Some(find(one)?.bound_p99_us)).collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    for bound in bounds.into_iter().filter(|&bound| bound >= LEAST_US) {
        let (name, points) = ("bound".into(), vec![(least, bound), (most, bound)]);
        let note = format::micros(bound);
        series.push(Series { colour: REFERENCE_COLOUR, name, note, points, stop: None, thin: true });
    }
    let y = times("p99 (log scale)".into(), &series)?;
    let title = "p99 against the rate";
    let description = format!("{title}, median of the steps at each rate. {}.", ends(&series));
    let held = compared(results.iter(), |one| by_key("found_per_s").of(one));
    let conclusion =
        conclude("keeps its bound up to {} messages per second", Better::Higher, format::number, held);
    Some(Plot::lines(("find", title), conclusion, description, (&x, &y), &series))
}

/// Round numbers between the ends of the lines, and the ends, where labels have room. `None` if they are one.
fn ticks_between(least: f64, most: f64) -> Option<Vec<f64>> {
    let mut ticks = decade_ticks(least, most, 1e-3);
    ticks.retain(|tick| (least * 1.3..most / 1.3).contains(tick));
    ticks.insert(0, least);
    ticks.push(most);
    (least < most).then_some(ticks)
}

/// The distribution of latencies.
fn percentiles(results: &[Loaded]) -> Option<Plot> {
    let series: Vec<Series> = results
        .iter()
        .filter_map(|one| {
            let times = &echo(one)?.latency.0;
            // At least one time must lie above a percentile.
            let is_shown =
                |at: &f64| (50.0..100.0).contains(at) && times.len() as f64 * (1.0 - at / 100.0) >= 1.0;
            let point = |at: f64| {
                (1.0 / (1.0 - at / 100.0), (times.value_at_percentile(at) as f64 / 1e3).max(LEAST_US))
            };
            let points: Vec<_> = PERCENTILES.into_iter().filter(is_shown).map(point).collect();
            let note = format!("p99 {}", by_key("latency_us_p99").text(one)?);
            (points.len() > 2).then(|| Series {
                colour: one.colour,
                name: one.name.clone(),
                note,
                points,
                stop: None,
                thin: false,
            })
        })
        .collect();
    let tail = series.iter().flat_map(|one| &one.points).map(|point| point.0).reduce(f64::max)?;
    let ticks = [(2.0, "50%"), (10.0, "90%"), (100.0, "99%"), (1e3, "99.9%"), (1e4, "99.99%")];
    let ticks = ticks.into_iter().filter(|tick| tick.0 <= tail * 1.01);
    let x = Axis {
        name: "share of messages echoed within this time".into(),
        ticks: ticks.map(|(at, text)| (at, text.to_owned())).collect(),
        headroom: 0.0,
        logarithmic: true,
    };
    let y = times("latency (log scale)".into(), &series)?;
    let title = "Latency";
    let description = format!("Distribution of latency. {}.", ends(&series));
    let p99s = compared(results.iter(), |one| by_key("latency_us_p99").of(one));
    let conclusion = conclude("has a p99 of {}", Better::Lower, format::micros, p99s);
    Some(Plot::lines(("latency", title), conclusion, description, (&x, &y), &series))
}

/// A plot with one bar per result.
struct Bars {
    name: &'static str,
    title: &'static str,
    axis: &'static str,
    key: &'static str,
    better: Better,
    /// See [`conclude`].
    claim: &'static str,
}

const BARS: [Bars; 4] = [
    Bars {
        name: "throughput",
        title: "Throughput",
        axis: "echoes per second",
        key: "echoes_per_s",
        better: Better::Higher,
        claim: "echoes {} messages per second",
    },
    Bars {
        name: "handshake",
        title: "Handshake",
        axis: "p99, from connect to the response",
        key: "handshake_us_p99",
        better: Better::Lower,
        claim: "has a p99 of {}",
    },
    Bars {
        name: "memory",
        title: "Server memory per connection",
        axis: "growth of resident memory",
        key: "server_bytes_per_connection",
        better: Better::Lower,
        claim: "needs {} per connection",
    },
    Bars {
        name: "cpu",
        title: "Server CPU time per echo",
        axis: "user space and kernel",
        key: "server_cpu_us_per_echo",
        better: Better::Lower,
        claim: "takes {} per echo",
    },
];

impl Bars {
    fn plot(&self, results: &[Loaded]) -> Option<Plot> {
        let figure = by_key(self.key);
        let bar = |one: &Loaded| Bar {
            colour: one.colour,
            name: one.name.clone(),
            value: figure.of(one),
            label: figure.text(one).unwrap_or_else(|| "not measured".into()),
            part: None,
            rounds: Vec::new(),
        };
        let bars: Vec<Bar> = results.iter().map(bar).collect();
        bars.iter().find(|bar| bar.value.is_some())?;
        let values = compared(results.iter(), |one| figure.of(one));
        let conclusion = conclude(self.claim, self.better, figure.format, values);
        Some(Plot::bars((self.name, self.title), conclusion, self.axis, &bars, figure.format))
    }
}

/// What a [conclusion](conclude) is drawn from: the results that have a value.
fn compared<'a>(
    results: impl Iterator<Item = &'a Loaded>,
    value: impl Fn(&Loaded) -> Option<f64>,
) -> Vec<Compared> {
    results.filter_map(|one| Some(Compared { name: one.name.clone(), value: value(one)? })).collect()
}

/// An axis from zero.
fn linear(name: String, values: impl Iterator<Item = f64>) -> Axis {
    let ticks = labelled(round_ticks(values.fold(0.0, f64::max)), format::number);
    Axis { name, ticks, headroom: 12.0, logarithmic: false }
}

/// A logarithmic axis of times; `None` without any.
fn times(name: String, series: &[Series]) -> Option<Axis> {
    let ys = || series.iter().flat_map(|one| one.points.iter().map(|point| point.1));
    let (least, most) = (ys().reduce(f64::min)?, ys().reduce(f64::max)?);
    let ticks = labelled(decade_ticks(least, most, LEAST_US), format::micros);
    Some(Axis { name, ticks, headroom: 12.0, logarithmic: true })
}

fn labelled(ticks: Vec<f64>, text: fn(f64) -> String) -> Vec<(f64, String)> {
    ticks.into_iter().map(|tick| (tick, text(tick))).collect()
}

fn ends(series: &[Series]) -> String {
    series.iter().map(|one| format!("{}: {}", one.name, one.note)).collect::<Vec<_>>().join("; ")
}

const _: () = assert!(REFERENCE_COLOUR < COLOUR_COUNT);
