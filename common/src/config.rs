//! The flags that every stage has, each also read from the environment as `WS_…`.

use crate::origin::Origin;
use crate::output;
use bytesize::ByteSize;
use clap::builder::FalseyValueParser;
use clap::{Args, Command, CommandFactory, FromArgMatches, Parser};
use clap_complete::Shell;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// The longest request head that is read (RFC 6455 sets none; nginx and Apache take 8 KiB).
pub const MAX_HEAD_LEN: usize = 8 * 1024;

/// How long the server reads and discards after its last octet, so that a reset does not overtake that octet.
pub const LINGER: Duration = Duration::from_secs(2);

/// The flags that every stage has.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Where WebSocket clients connect; port 0 takes a free one
    #[arg(long, env = "WS_ADDR", default_value = "0.0.0.0:8000", value_name = "IP:PORT")]
    pub addr: SocketAddr,

    /// Where /health and /metrics answer whatever the load, from a thread of their own
    #[arg(long, env = "WS_ADMIN_ADDR", default_value = "127.0.0.1:8001", value_name = "IP:PORT")]
    pub admin_addr: SocketAddr,

    /// WebSocket connections at most; more get 503 [default: what the shards' descriptor tables hold]
    #[arg(long, env = "WS_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<NonZeroUsize>,

    /// Shards, each a thread with its own listener, connections and descriptor table
    /// [default: one per core, or as many as --max-connections needs]
    #[arg(long, env = "WS_SHARDS", value_name = "N")]
    pub shards: Option<NonZeroUsize>,

    /// Keep each shard on one core, where it takes the connections whose packets arrive there (Linux 6.2): for packets that
    /// come evenly to all cores, from a network card with a queue for each, or from a client here with --pin as well
    #[arg(long, env = "WS_PIN", value_parser = FalseyValueParser::new())]
    pub pin: bool,

    /// Connections that may wait for accept(2), per shard; the kernel cuts it to net.core.somaxconn
    #[arg(long, env = "WS_BACKLOG", default_value_t = 4096, value_name = "N",
          value_parser = clap::value_parser!(i32).range(1..))]
    pub backlog: i32,

    /// Time for a whole request to arrive
    #[arg(long, env = "WS_HANDSHAKE_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = positive)]
    pub handshake_timeout: Duration,

    /// Close a connection from which nothing came for so long; 0 is never
    #[arg(long, env = "WS_IDLE_TIMEOUT", default_value = "0", value_name = "TIME", value_parser = duration)]
    pub idle_timeout: Duration,

    /// Ping a connection whenever nothing came for so long; 0 is never
    #[arg(long, env = "WS_PING_INTERVAL", default_value = "0", value_name = "TIME", value_parser = duration)]
    pub ping_interval: Duration,

    /// The largest message; a larger one is answered with Close 1009
    #[arg(long, env = "WS_MAX_MESSAGE_SIZE", default_value = "16MiB", value_name = "SIZE", value_parser = size)]
    pub max_message_size: usize,

    /// What unfinished messages and unsent output of all connections may take; who needs more gets Close 1013
    /// [default: an eighth of memory]
    #[arg(long, env = "WS_BUFFER_BUDGET", value_name = "SIZE", value_parser = size)]
    pub buffer_budget: Option<usize>,

    /// Web pages that may connect, by origin, with commas; others get 403, clients that send none are let in [default: any]
    #[arg(long, env = "WS_ALLOW_ORIGIN", value_name = "SCHEME://HOST", value_delimiter = ',')]
    pub allow_origin: Vec<Origin>,

    /// On SIGTERM or SIGINT: time for all peers to go
    #[arg(long, env = "WS_DRAIN_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = duration)]
    pub drain_timeout: Duration,

    /// Serve nothing: ask the server at --admin-addr whether it is well, and exit with 0 if so, with 1 if not
    #[arg(long)]
    pub healthcheck: bool,

    /// off, error, warn, info, debug or trace
    #[arg(long, env = "WS_LOG", default_value = "info", value_name = "LEVEL")]
    pub log: LevelFilter,
}

/// Parses a size such as `4KiB` or `65536`, at least 1 octet.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn size(text: &str) -> Result<usize, String> {
    match text.parse::<ByteSize>() {
        Ok(ByteSize(0)) => Err("must be at least 1 octet".into()),
        Ok(ByteSize(octets)) if octets <= isize::MAX as u64 => Ok(octets as usize),
        _ => Err("not a size such as 4KiB, 16MiB or 65536".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|_| "not a time such as 500ms, 30s or 0")?;
    match time.as_secs() {
        0..=31_536_000 => Ok(time),
        _ => Err("longer than a year".into()),
    }
}

fn positive(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than 0".into()),
        time => Ok(time),
    }
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
    ("Addresses", &["addr", "admin_addr", "allow_origin"]),
    ("Capacity", &["max_connections", "shards", "pin", "backlog", "max_message_size", "buffer_budget"]),
    ("Time limits", &["handshake_timeout", "idle_timeout", "ping_interval", "drain_timeout"]),
    ("Output", &["log"]),
];

/// Puts each flag under its heading; one that no heading has stays where it is.
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
  {name} --completions bash > ~/.local/share/bash-completion/completions/{name}"
    )
}

/// The flags of every stage and those of this one, from the command line and the environment.
///
/// # Errors
/// The exit status: 0 after `--help`, `--version` or `--completions`, 2 after one line on what was wrong.
pub(crate) fn parse<F: Args>(name: &'static str, about: &'static str) -> Result<(Config, F), u8> {
    let command = Cli::<F>::command().name(name).about(about).after_help(examples(name));
    let mut command = with_headings(command, &HEADINGS);
    let matches = command.try_get_matches_from_mut(std::env::args_os());
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
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    output::complain(format_args!("{name}: {line}; see {name} --help"));
    2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!(size("4KiB"), Ok(4096));
        assert_eq!(size("65536"), Ok(65_536));
        assert!(
            size("0").is_err()
                && size("-1").is_err()
                && size("many").is_err()
                && size("99999999TiB").is_err()
        );
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(duration("-1s").is_err() && duration("soon").is_err() && duration("900years").is_err());
        assert!(positive("0s").is_err());
    }
}
