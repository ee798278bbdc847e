//! The servers of a race: a stage, another server by its command, or a running server.

use crate::doctor::Machine;
use crate::fleet::{Endpoint, Proxy, Url};
use crate::load::ProxyArgs;
use crate::measure::Sampler;
use crate::subject::{Other, Server, Subject, parse_target};
use crate::watch::Metrics;
use anyhow::{Context, Result, ensure};

/// A server, as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The stage of this number.
    Stage(u8),
    /// Another server, by its command.
    Other(Other),
    /// A running server.
    Url(Url),
}

/// Parses `1` to `4`, `NAME=COMMAND`, `ws://HOST:PORT/PATH` or `wss://HOST/PATH`.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn parse(text: &str) -> Result<Contender, String> {
    if text.contains("://") && !text.contains('=') {
        return text.parse().map(Contender::Url).map_err(|error| format!("{error}"));
    }
    match text {
        "1" | "2" | "3" | "4" => Ok(Contender::Stage(text.as_bytes()[0] - b'0')),
        _ if text.contains('=') => parse_target(text).map(Contender::Other),
        _ => Err("none of a stage (1 to 4), NAME=COMMAND and ws://HOST:PORT/PATH".into()),
    }
}

impl Contender {
    /// How it is started; `None` for a running server. `path` is where a server given by its command echoes.
    ///
    /// # Errors
    /// Where the path of this program is unknown.
    pub fn subject(&self, machine: &Machine, path: &str) -> Result<Option<Subject>> {
        Ok(match self {
            Contender::Stage(number) => Some(Subject::stage(*number, machine)?),
            Contender::Other(other) => Some(Subject::other(other, path)),
            Contender::Url(_) => None,
        })
    }

    /// The proxy to a running server. One that is started here is on this machine.
    ///
    /// # Errors
    /// The environment variable that names no usable proxy, in one line.
    pub fn proxy(&self, args: &ProxyArgs) -> Result<Option<Proxy>, String> {
        match self {
            Contender::Url(url) => args.proxy_to(url),
            Contender::Stage(_) | Contender::Other(_) => Ok(None),
        }
    }
}

/// A server that is ready.
pub struct Ready {
    /// Its name in results.
    pub name: String,
    /// Where it echoes.
    pub endpoint: Endpoint,
    /// The command that started it; `None` for a server that was running.
    pub command: Option<String>,
    /// Whether it is a stage, which must exit with 0.
    is_stage: bool,
    server: Option<Server>,
}

impl Ready {
    /// Starts it, unless it is running; then `proxy` is the way to it.
    ///
    /// # Errors
    /// What kept it from starting, or why its name has no address, in one line.
    pub fn start(
        contender: &Contender,
        subject: Option<Subject>,
        connections: u64,
        proxy: Option<Proxy>,
    ) -> Result<Ready> {
        match (contender, subject) {
            (Contender::Url(url), _) => {
                let (name, endpoint) = (url.to_string(), url.clone().resolve_through(proxy)?);
                Ok(Ready { name, endpoint, command: None, is_stage: false, server: None })
            }
            (_, Some(subject)) => {
                let server = Server::start(&subject, connections).with_context(|| subject.name.clone())?;
                Ok(Ready {
                    endpoint: server.endpoint.clone(),
                    command: Some(subject.command_line()),
                    is_stage: matches!(contender, Contender::Stage(_)),
                    name: subject.name,
                    server: Some(server),
                })
            }
            (_, None) => unreachable!("only a running server has no subject"),
        }
    }

    /// How its memory is read: a running stage has `/metrics` on the port that it echoes on.
    pub fn sampler(&self) -> Sampler {
        if let Some(server) = &self.server {
            return Sampler::Process(server.watched());
        }
        // A proxy's addresses are not the server's, and with TLS one may answer for it.
        if self.endpoint.proxy.is_some() || self.endpoint.url.is_tls {
            return Sampler::Unwatched;
        }
        // Several addresses may be several processes.
        let [addr] = *self.endpoint.addrs() else { return Sampler::Unwatched };
        let host = self.endpoint.url.authority.to_string();
        match Metrics::fetch_as(addr, &host) {
            Ok(metrics) if metrics.value("process_resident_memory_bytes").is_some() => {
                Sampler::Metrics(addr, host)
            }
            _ => Sampler::Unwatched,
        }
    }

    /// Stops it if it was started here, and returns how it exited.
    ///
    /// # Errors
    /// Where it has died before, does not exit in time, or is a stage and does not exit with 0.
    pub fn stop(self) -> Result<Option<String>> {
        let Some(mut server) = self.server else { return Ok(None) };
        server.check_alive()?;
        let ending = server.stop()?;
        let well = !self.is_stage || ending == "exit 0";
        ensure!(well, "it ended with {ending} on SIGTERM, and not with exit 0");
        Ok(Some(ending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_are_told_apart() {
        assert_eq!(parse("3"), Ok(Contender::Stage(3)));
        assert!(matches!(parse("ws://127.0.0.1:8000/echo"), Ok(Contender::Url(url)) if url.path == "/echo"));
        let Ok(Contender::Other(other)) = parse("gorilla=/opt/server -url ws://x/{port}") else {
            panic!("a command may hold a URL");
        };
        assert_eq!((other.name.as_str(), other.words.len()), ("gorilla", 3));
        for (wrong, named) in
            [("5", "1 to 4"), ("", "1 to 4"), ("x=", "NAME=COMMAND"), ("http://127.0.0.1/", "wss://HOST")]
        {
            assert!(parse(wrong).is_err_and(|error| error.contains(named)), "{wrong}");
        }
    }
}
