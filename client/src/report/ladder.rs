//! What each stage is called, and what it claims to remove: the words around the figures.

use super::metrics::metric;
use super::plot::COLOUR_COUNT;
use super::results::{Results, Visit};
use super::{format, stats};

/// A stage of the workspace.
pub struct Stage {
    /// Its package.
    pub package: &'static str,
    /// How it serves a connection.
    pub title: &'static str,
    /// What it removes, as the beginning of a sentence.
    pub removes: &'static str,
    /// The figures that show it: a key of [`super::metrics`], what it is called here, and the words for less and
    /// more of it.
    shows: &'static [(&'static str, &'static str, (&'static str, &'static str))],
}

const LESS: (&str, &str) = ("less", "more");

/// The stages, in their order.
pub static STAGES: [Stage; 4] = [
    Stage {
        package: "stage1-thread-per-conn",
        title: "thread per connection",
        removes: "The limits of the system are out of the way, and a thread serves each connection",
        shows: &[
            ("user_bytes_per_connection_idle", "user memory", LESS),
            ("kernel_bytes_per_connection", "kernel memory", LESS),
        ],
    },
    Stage {
        package: "stage2-task-per-conn",
        title: "task per connection",
        removes: "No thread for each connection, but a task",
        shows: &[
            ("user_bytes_per_connection_idle", "user memory", LESS),
            ("kernel_bytes_per_connection", "kernel memory", LESS),
        ],
    },
    Stage {
        package: "stage3-mio-epoll",
        title: "mio event loop",
        removes: "No task for each connection: one call finds all that are ready",
        shows: &[
            ("user_bytes_per_connection_idle", "user memory", LESS),
            ("cpu_us_per_echo", "CPU time per echo", LESS),
        ],
    },
    Stage {
        package: "stage4-zero-buffer",
        title: "zero buffers",
        removes: "No buffer for an idle connection",
        shows: &[
            ("user_bytes_per_connection_idle", "user memory", LESS),
            ("cpu_us_per_echo", "CPU time per echo", LESS),
        ],
    },
];

/// The stage of this package.
pub fn stage(package: &str) -> Option<&'static Stage> {
    STAGES.iter().find(|stage| stage.package == package)
}

/// How a server is shown, wherever it is.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its name in the results.
    pub target: String,
    /// The number of its colour.
    pub colour: usize,
    /// Short: `Stage 2`, or the name given with `--target`.
    pub short: String,
    /// How it serves a connection; empty for servers that are none of ours.
    pub title: String,
}

impl Shown {
    /// Both names: `1 · thread per connection`.
    pub fn full(&self) -> String {
        match self.title.as_str() {
            "" => self.short.clone(),
            title => format!("{} · {title}", self.short.trim_start_matches("Stage ")),
        }
    }
}

/// How each server of the results is shown, in their order. A stage has its colour whoever else is there.
pub fn shown(results: &Results) -> Vec<Shown> {
    let mut others = (STAGES.len()..COLOUR_COUNT).cycle();
    let show =
        |target: &super::results::Target| match STAGES.iter().position(|one| one.package == target.name) {
            Some(index) => Shown {
                target: target.name.clone(),
                colour: index,
                short: format!("Stage {}", index + 1),
                title: STAGES[index].title.into(),
            },
            None => Shown {
                target: target.name.clone(),
                colour: others.next().unwrap_or_default(),
                short: target.name.clone(),
                title: String::new(),
            },
        };
    results.targets.iter().map(show).collect()
}

/// One sentence: what a stage removed, and the figures before and after. `None` for other servers.
pub fn verdict(results: &Results, package: &str) -> Option<String> {
    let index = STAGES.iter().position(|stage| stage.package == package)?;
    let before = index.checked_sub(1).map(|index| STAGES[index].package);
    let figures: Vec<String> = STAGES[index]
        .shows
        .iter()
        .filter_map(|(key, name, words)| {
            let metric = metric(key);
            let after = metric.figure(results, package)?.median;
            let text = (metric.format)(after);
            let before = before.and_then(|before| metric.figure(results, before)).map(|figure| figure.median);
            Some(match before.filter(|&before| before > 0.0) {
                Some(before) => {
                    let change = format::change(before, after, *words);
                    format!("{name} {} → {text} ({change})", (metric.format)(before))
                }
                None => format!("{text} of {name}"),
            })
        })
        .collect();
    let removes = STAGES[index].removes;
    Some(if figures.is_empty() {
        format!("{removes}.")
    } else {
        format!("{removes}: {}.", figures.join("; "))
    })
}

/// How many connections a server held, and what stopped it.
pub fn held(results: &Results, target: &str) -> Option<(f64, Option<String>)> {
    let most = stats::median(&results.visits_to(target).map(|visit| visit.held as f64).collect::<Vec<_>>())?;
    let stopped = results.visits_to(target).find_map(|visit: &Visit| visit.stopped.clone());
    Some((most, stopped))
}
