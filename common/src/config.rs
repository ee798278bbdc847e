//! The flags that every stage has, each also read from the environment as `WS_…`.

#[cfg(test)]
mod tests;

use crate::origin::Origin;
use crate::output;
use crate::subprotocol::Subprotocol;
use bytesize::ByteSize;
use clap::builder::{FalseyValueParser, Resettable};
use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, ValueEnum};
use clap_complete::Shell;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// The longest request head that is read (RFC 6455 sets none; nginx and Apache take 8 KiB).
pub const MAX_HEAD_LEN: usize = 8 * 1024;

/// The most shards: more threads than that meet other limits first, such as `vm.max_map_count`, and not well.
pub const MAX_SHARDS: usize = 4096;

/// How long a lingering close reads and discards, so that a reset does not overtake output.
pub const LINGER: Duration = Duration::from_secs(2);

/// The flags that every stage has.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Listen here for WebSocket clients; port 0 takes a free port
    #[arg(long, env = "WS_ADDR", default_value = "0.0.0.0:8000", value_name = "IP:PORT")]
    pub addr: SocketAddr,

    /// Serve /health, /ready and /metrics here, whatever the load, from a thread of their own
    #[arg(long, env = "WS_ADMIN_ADDR", default_value = "127.0.0.1:8001", value_name = "IP:PORT")]
    pub admin_addr: SocketAddr,

    /// Serve /metrics on --admin-addr only, or on both addresses
    #[arg(
        long,
        env = "WS_METRICS_ON",
        default_value = "both",
        value_name = "admin|both",
        hide_possible_values = true
    )]
    pub metrics_on: MetricsOn,

    /// Limit WebSocket connections; further ones get 503. Up to a billion [default: what the shards' descriptor tables hold]
    #[arg(long, env = "WS_MAX_CONNECTIONS", value_name = "N", value_parser = connections)]
    pub max_connections: Option<NonZeroUsize>,

    /// Shards, each a thread with its own listener, connections and descriptor table, up to 4096; more than this if
    /// --max-connections needs them [default: one per core]
    #[arg(long, env = "WS_SHARDS", value_name = "N", value_parser = shards)]
    pub shards: Option<NonZeroUsize>,

    /// Keep each shard on one core, where it takes the connections whose packets arrive there (Linux 6.2): for packets that
    /// come evenly to all cores, from a network card with a queue for each, or from a client here with --pin as well
    #[arg(long, env = "WS_PIN", value_parser = FalseyValueParser::new())]
    pub pin: bool,

    /// Connections that may wait for accept(2), per shard; the kernel cuts it to net.core.somaxconn
    #[arg(long, env = "WS_BACKLOG", default_value_t = 4096, value_name = "N",
          value_parser = clap::value_parser!(i32).range(1..))]
    pub backlog: i32,

    /// Reject a request that has not all arrived after this long (10ms to 1h)
    #[arg(long, env = "WS_HANDSHAKE_TIMEOUT", default_value = "10s", value_name = "TIME",
          value_parser = handshake_timeout)]
    pub handshake_timeout: Duration,

    /// Close a connection whose peer has neither sent anything nor taken any output for this long (10ms to 30days; 0 disables)
    #[arg(long, env = "WS_IDLE_TIMEOUT", default_value = "0", value_name = "TIME", value_parser = quiet_time)]
    pub idle_timeout: Duration,

    /// Ping a connection whenever nothing was received for this long (10ms to 30days; 0 disables)
    #[arg(long, env = "WS_PING_INTERVAL", default_value = "0", value_name = "TIME", value_parser = quiet_time)]
    pub ping_interval: Duration,

    /// The largest message, up to 1GiB; a larger one is answered with Close 1009
    #[arg(long, env = "WS_MAX_MESSAGE_SIZE", default_value = "16MiB", value_name = "SIZE",
          value_parser = message_size)]
    pub max_message_size: usize,

    /// Memory for unfinished messages and unsent output of all connections; a connection that needs more gets Close 1013
    /// [default: an eighth of memory]
    #[arg(long, env = "WS_BUFFER_BUDGET", value_name = "SIZE", value_parser = size)]
    pub buffer_budget: Option<usize>,

    /// Web pages that may connect, by origin, with commas (also file:// and null); others get 403, clients that send none
    /// are let in [default: any]
    #[arg(long, env = "WS_ALLOW_ORIGIN", value_name = "SCHEME://HOST", value_delimiter = ',')]
    pub allow_origin: Vec<Origin>,

    /// Select this subprotocol when a client offers it, or the first offered one of several, with commas [default: none]
    #[arg(long, env = "WS_SUBPROTOCOL", value_name = "NAME", value_delimiter = ',')]
    pub subprotocol: Vec<Subprotocol>,

    /// Exit this long after SIGTERM, SIGINT or SIGHUP, even if connections are still open (0s to 1day)
    #[arg(long, env = "WS_DRAIN_TIMEOUT", default_value = "8s", value_name = "TIME", value_parser = drain_timeout)]
    pub drain_timeout: Duration,

    /// In a drain, close this many connections per second, or more if it takes more to close all within three quarters of
    /// --drain-timeout
    #[arg(long, env = "WS_DRAIN_RATE", default_value = "1000", value_name = "N", value_parser = drain_rate)]
    pub drain_rate: NonZeroUsize,

    /// Check the health of the server at --admin-addr, and exit with 0 if it is healthy, else with 1
    #[arg(long)]
    pub healthcheck: bool,

    /// off, error, warn, info, debug or trace
    #[arg(long, env = "WS_LOG", default_value = "info", value_name = "LEVEL")]
    pub log: LevelFilter,
}

#[cfg(any(test, feature = "fuzzing"))]
impl Config {
    /// As from a command line of these flags.
    pub(crate) fn of(flags: &[&str]) -> Config {
        let command = Config::augment_args(Command::new("test").no_binary_name(true));
        Config::from_arg_matches(&command.get_matches_from(flags)).expect("valid flags")
    }
}

/// Which of a server's addresses serve `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MetricsOn {
    /// `--admin-addr`; on `--addr` the path is not found.
    Admin,
    /// `--addr` as well.
    Both,
}

/// Parses a size such as `4KiB` or `65536`, at least 1 byte.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn size(text: &str) -> Result<usize, String> {
    match text.parse::<ByteSize>() {
        Ok(ByteSize(0)) => Err("must be at least 1 byte".into()),
        Ok(ByteSize(bytes)) if bytes <= isize::MAX as u64 => Ok(bytes as usize),
        _ => Err("not a size such as 4KiB, 16MiB or 65536".into()),
    }
}

fn size_up_to(text: &str, most: &str) -> Result<usize, String> {
    let (size, limit) = (size(text)?, size(most)?);
    if size <= limit { Ok(size) } else { Err(format!("must be at most {most}")) }
}

fn message_size(text: &str) -> Result<usize, String> {
    // Stages 1 to 3 reserve what a header declares: a peer must not make them ask for more than there is.
    size_up_to(text, "1GiB")
}

/// Parses the size of a connection's read buffer.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn read_buffer_size(text: &str) -> Result<usize, String> {
    size_up_to(text, "16MiB")
}

fn connections(text: &str) -> Result<NonZeroUsize, String> {
    number(text, 1_000_000_000)
}

fn drain_rate(text: &str) -> Result<NonZeroUsize, String> {
    number(text, 1_000_000_000)
}

fn shards(text: &str) -> Result<NonZeroUsize, String> {
    number(text, MAX_SHARDS)
}

fn number(text: &str, most: usize) -> Result<NonZeroUsize, String> {
    match text.parse() {
        Ok(number) if number <= NonZeroUsize::MIN.saturating_add(most - 1) => Ok(number),
        _ => Err(format!("not a whole number from 1 to {most}")),
    }
}

/// The shortest timeout: event loops check their connections no more often.
const SHORTEST_TIME: Duration = Duration::from_millis(10);

/// The longest time that a connection may be quiet: stage 4 counts it in 28 bits, of ticks of 10 ms or more.
const LONGEST_QUIET_TIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

fn handshake_timeout(text: &str) -> Result<Duration, String> {
    time(text, SHORTEST_TIME, Duration::from_secs(60 * 60))
}

fn quiet_time(text: &str) -> Result<Duration, String> {
    match time(text, Duration::ZERO, Duration::MAX)? {
        Duration::ZERO => Ok(Duration::ZERO),
        _ => time(text, SHORTEST_TIME, LONGEST_QUIET_TIME).map_err(|error| error + ", or 0 to disable"),
    }
}

fn drain_timeout(text: &str) -> Result<Duration, String> {
    time(text, Duration::ZERO, Duration::from_secs(24 * 60 * 60))
}

/// Parses a time such as `500ms` or `1m 30s`.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "not a time such as 500ms, 30s or 2m".into())
}

/// A time within bounds, which an error names.
fn time(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let time = duration(text)?;
    if (least..=most).contains(&time) {
        return Ok(time);
    }
    let [least, most] = [least, most].map(humantime::format_duration);
    Err(format!("must be {least} to {most}"))
}

#[derive(Parser)]
#[command(version, next_line_help = true)]
struct Cli<F: Args> {
    #[command(flatten)]
    config: Config,
    #[command(flatten, next_help_heading = "This stage")]
    flags: F,

    /// Print completions for this shell, and exit
    #[arg(long, value_name = "SHELL", help_heading = "Output")]
    completions: Option<Shell>,
}

/// The headings in `--help`, and the flags under each.
const HEADINGS: [(&str, &[&str]); 4] = [
    ("Addresses", &["addr", "admin_addr", "metrics_on", "allow_origin", "subprotocol"]),
    ("Capacity", &["max_connections", "shards", "pin", "backlog", "max_message_size", "buffer_budget"]),
    ("Time limits", &["handshake_timeout", "idle_timeout", "ping_interval", "drain_timeout", "drain_rate"]),
    ("Output", &["log"]),
];

/// Treats an empty environment variable as unset, as `WS_X: ${X:-}` in a compose file means it.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |name: &OsStr| env::var_os(name).is_some_and(|value| value.is_empty());
    command.mut_args(|arg| if arg.get_env().is_some_and(is_empty) { arg.env(Resettable::Reset) } else { arg })
}

/// Groups flags under headings. A flag without a heading stays where it is.
pub fn with_headings(command: Command, headings: &[(&'static str, &[&str])]) -> Command {
    command.mut_args(|arg| match headings.iter().find(|(_, flags)| flags.contains(&arg.get_id().as_str())) {
        Some((heading, _)) => arg.help_heading(*heading),
        None => arg,
    })
}

/// What `--help` ends with.
fn examples(name: &str) -> String {
    format!(
        "\
Examples:
  {name}
  {name} --max-connections 1000000 --ping-interval 30s --idle-timeout 60s
  WS_ADDR=127.0.0.1:9000 {name} --admin-addr 127.0.0.1:9001
  {name} --completions bash > ~/.local/share/bash-completion/completions/{name}

A variable of the environment that is empty counts as unset."
    )
}

/// The common flags and this stage's own, from the command line and the environment.
///
/// # Errors
/// The exit status: 0 after `--help`, `--version` or `--completions`, 2 after one line on what was wrong.
pub(crate) fn parse<F: Args>(name: &'static str, about: &'static str) -> Result<(Config, F), u8> {
    let command = Cli::<F>::command().name(name).about(about).after_help(examples(name));
    let mut command = with_headings(without_empty_variables(command), &HEADINGS);
    let matches = command.try_get_matches_from_mut(env::args_os());
    match matches.and_then(|mut matches| Cli::<F>::from_arg_matches_mut(&mut matches)) {
        Ok(Cli { completions: Some(shell), .. }) => Err(print_completions(shell, &mut command, name)),
        Ok(cli) => Ok((cli.config, cli.flags)),
        Err(error) => Err(explain(name, &error)),
    }
}

/// Prints the completions of a program for a shell; returns the exit status.
pub fn print_completions(shell: Shell, command: &mut Command, name: &str) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    match output::print_data(String::from_utf8_lossy(&script)) {
        Ok(()) => 0,
        Err(error) => {
            output::complain(format_args!("{name}: cannot write to standard output: {error}"));
            1
        }
    }
}

/// Prints `--help` or `--version`, or an error in one line; returns the exit status.
pub fn explain(name: &str, error: &clap::Error) -> u8 {
    if !error.use_stderr() {
        let text = error.render();
        if output::has_colour(&io::stdout()) {
            output::print(text.ansi());
        } else {
            output::print(text);
        }
        return 0;
    }
    output::complain(format_args!("{name}: {}", in_one_line(name, error)));
    2
}

/// What is wrong on a command line, and where to look.
pub fn in_one_line(name: &str, error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{line}; see {name} --help")
}
