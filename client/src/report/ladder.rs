//! Each stage's title and claim: the words around the figures.

use super::metrics::metric;
use super::plot::COLOUR_COUNT;
use super::results::{Results, Visit};
use super::{format, stats};

/// A stage of the workspace.
pub struct Stage {
    /// Its Cargo package.
    pub package: &'static str,
    /// How it serves a connection.
    pub title: &'static str,
    /// The bottleneck it removes: the beginning of a sentence.
    pub removes: &'static str,
    /// The figures that show it: key in [`super::metrics`], name in the sentence, words for a decrease and an
    /// increase.
    shows: &'static [(&'static str, &'static str, (&'static str, &'static str))],
}

const LESS: (&str, &str) = ("less", "more");

/// The stages in order.
pub static STAGES: [Stage; 4] = [
    Stage {
        package: "stage1-thread-per-conn",
        title: "thread per connection",
        removes: "System limits are raised, and each connection has a thread",
        shows: &[
            ("user_bytes_per_connection_idle", "user memory", LESS),
            ("kernel_bytes_per_connection", "kernel memory", LESS),
        ],
    },
    Stage {
        package: "stage2-task-per-conn",
        title: "task per connection",
        removes: "A task per connection instead of a thread",
        shows: &[
            ("user_bytes_per_connection_idle", "user memory", LESS),
            ("kernel_bytes_per_connection", "kernel memory", LESS),
        ],
    },
    Stage {
        package: "stage3-mio-epoll",
        title: "mio event loop",
        removes: "No task per connection, and one call for all ready sockets",
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

/// The stage with this package name.
pub fn stage(package: &str) -> Option<&'static Stage> {
    STAGES.iter().find(|stage| stage.package == package)
}

/// How a server is presented in all tables and plots.
#[derive(Clone, Debug)]
pub struct Shown {
    /// [`Target::name`](super::results::Target::name).
    pub target: String,
    /// Index of its colour.
    pub colour: usize,
    /// Short: `Stage 2`, or the name given with `--target`.
    pub short: String,
    /// How it serves a connection; empty for servers other than the stages.
    pub title: String,
}

impl Shown {
    /// Number and title, `1 · thread per connection`, or the short name alone.
    pub fn full(&self) -> String {
        match self.title.as_str() {
            "" => self.short.clone(),
            title => format!("{} · {title}", self.short.trim_start_matches("Stage ")),
        }
    }
}

/// The servers in the order of the results. A stage's colour does not depend on which other servers there are.
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

/// One sentence: what a stage removed, and the figures of the previous stage and of this one. `None` for other
/// servers.
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

/// Median of the connections a server held, and what stopped it. `None` if it was never visited.
pub fn held(results: &Results, target: &str) -> Option<(f64, Option<String>)> {
    let most = stats::median(&results.visits_to(target).map(|visit| visit.held as f64).collect::<Vec<_>>())?;
    let stopped = results.visits_to(target).find_map(|visit: &Visit| visit.stopped.clone());
    Some((most, stopped))
}
