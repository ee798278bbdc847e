//! `--metrics-addr`: the counters of this client, for Prometheus.
//!
//! The thread that answers shares the process's first descriptor table. Its descriptors mean nothing in the tables of the
//! shards (see [`common::table`]); all it reads of the shards are counters in memory.

use super::RunArgs;
use crate::fleet::{Class, Times, Watch};
use crate::words;
use anyhow::{Result, anyhow};
use clap::ValueEnum;
use common::families::{self, MetricFamily};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::ready;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// Connections at a time. Further ones stay in the backlog until one has ended.
const MAX_CONNECTIONS: usize = 16;
/// The timeout for a request head, and for an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after accept(2) fails because descriptors or memory have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the metrics are computed from.
struct Source {
    watch: Watch,
    asked: u64,
    scenario: String,
}

/// Binds the address, before the load starts.
///
/// # Errors
/// Why it cannot be bound and what to do, in one line.
pub(super) fn listen(addr: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(addr).map_err(|error| anyhow!(common::explain_listen("--metrics-addr", addr, &error)))
}

/// Starts the thread that answers, and prints its address. The thread ends with the process.
///
/// # Errors
/// If the thread or its runtime cannot be created.
pub(super) fn start(listener: TcpListener, args: &RunArgs, watch: Watch) -> io::Result<()> {
    let scenario = args.scenario.to_possible_value().map_or_else(String::new, |name| name.get_name().into());
    let source = Arc::new(Source { watch, asked: args.connections, scenario });
    let addr = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("metrics".into()).spawn(move || {
        if let Err(error) = runtime.block_on(serve(listener, source)) {
            words::complain("client", &format!("--metrics-addr is no longer served: {error}"));
        }
    })?;
    if !args.quiet {
        words::progress(&format!("client: metrics on http://{addr}/metrics"));
    }
    Ok(())
}

async fn serve(listener: TcpListener, source: Arc<Source>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let source = source.clone();
        tokio::spawn(async move {
            answer(stream, &source).await;
            drop(place);
        });
    }
}

/// Serves the requests of one connection.
async fn answer(stream: TcpStream, source: &Source) {
    let service = service_fn(|request| ready(Ok::<_, Infallible>(respond(&request, source))));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    // A scraper that disconnects is no error.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

fn respond(request: &Request<Incoming>, source: &Source) -> Response<Full<Bytes>> {
    let (status, content_type, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            (StatusCode::OK, families::CONTENT_TYPE, families::text(&source.families()).into())
        }
        (&Method::GET | &Method::HEAD, _) => {
            (StatusCode::NOT_FOUND, "text/plain", Bytes::from("404 Not Found: try /metrics\n"))
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", Bytes::from("405 Method Not Allowed\n")),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

impl Source {
    fn families(&self) -> Vec<MetricFamily> {
        let now = self.watch.progress();
        let opened = now.handshakes.doublings().map(|(_, count)| count).sum();
        let failures = Class::ALL.map(|class| (class.name(), now.failures.of(class) as f64));
        let labels = [("scenario", self.scenario.as_str()), ("version", env!("CARGO_PKG_VERSION"))];
        let gauge = |name, help, value: u64| families::gauge(name, help, value as f64);
        let counter = |name, help, value: u64| families::counter(name, help, value as f64);
        let mut all = vec![
            families::gauge_with("ws_client_build_info", "What runs here", &labels, 1.0),
            gauge("ws_client_connections_asked", "--connections", self.asked),
            gauge("ws_client_connections_active", "WebSocket connections open now", now.connected),
            gauge("ws_client_connections_connecting", "Handshakes under way", now.connecting),
            counter("ws_client_connections_opened_total", "WebSocket connections opened", opened),
            families::counters("ws_client_failures_total", "What failed", "class", failures),
            counter("ws_client_messages_sent_total", "Messages sent", now.sent),
            counter("ws_client_messages_received_total", "Replies received, and found right", now.echoes),
            counter("ws_client_messages_pushed_total", "Other messages from the server", now.pushed),
            seconds("ws_client_handshake_seconds", "From connect to the verified answer", &now.handshakes),
            seconds("ws_client_latency_seconds", "Of echoes that the results count", &now.latencies),
        ];
        all.extend(families::process(self.watch.threads()));
        all
    }
}

fn seconds(name: &str, help: &str, times: &Times) -> MetricFamily {
    let mut buckets: Vec<_> = times.doublings().map(|(bound, count)| (bound.as_secs_f64(), count)).collect();
    let (_, longest) = buckets.pop().expect("there is a last one");
    families::histogram(name, help, buckets, longest, times.sum().as_secs_f64())
}
