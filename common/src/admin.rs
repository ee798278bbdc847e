//! `/health` and `/metrics` on an address of their own, from a thread of their own, so that they answer in the
//! middle of a connection storm.

use crate::http::{Page, Status};
use crate::metrics::Metrics;
use crate::shard::{ACCEPT_PAUSE, PROMETHEUS, health, warn_once_a_second};
use crate::shutdown::Shutdown;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::ready;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep, timeout_at};

/// Connections held at a time, and so requests.
const MAX_CONNECTIONS: usize = 64;

/// How long a connection is sure of its place. After that the oldest must make way for one more, so that nobody is locked
/// out by those who hold theirs and say nothing, or read nothing.
const SURE: Duration = Duration::from_secs(1);

/// Time for a request to arrive, and how long a connection may idle between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts the admin server's thread. It ends with the process.
///
/// # Errors
/// If the thread or its runtime cannot be had.
pub(crate) fn start(listener: TcpListener, metrics: Arc<Metrics>, shutdown: Shutdown) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("admin".into()).spawn(move || {
        if let Err(error) = runtime.block_on(serve(listener, metrics, shutdown)) {
            tracing::error!("the admin server has ended: {error}");
        }
    })?;
    Ok(())
}

async fn serve(listener: TcpListener, metrics: Arc<Metrics>, shutdown: Shutdown) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = VecDeque::<(Instant, JoinHandle<()>)>::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn_once_a_second(|| tracing::warn!("admin: cannot accept: {error}"));
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        connections.retain(|(_, connection)| !connection.is_finished());
        let place = loop {
            let make_way = connections.front().map_or_else(Instant::now, |(since, _)| *since + SURE);
            match timeout_at(make_way, places.clone().acquire_owned()).await {
                Ok(place) => break place.expect("the semaphore is never closed"),
                Err(_) => {
                    // If it was this thread that was held up, what came meanwhile is answered first.
                    yield_now().await;
                    if places.available_permits() == 0
                        && let Some((_, oldest)) = connections.pop_front()
                    {
                        oldest.abort();
                        // Its place is free when it is gone, which an error here says as well.
                        let _ = oldest.await;
                    }
                }
            }
        };
        let answering = answer(stream, metrics.clone(), shutdown.clone());
        let connection = tokio::spawn(async move {
            answering.await;
            drop(place);
        });
        connections.push_back((Instant::now(), connection));
    }
}

/// Answers the requests of a connection. It ends behind one with content, which is not waited for.
async fn answer(stream: TcpStream, metrics: Arc<Metrics>, shutdown: Shutdown) {
    let service = service_fn(|request| ready(Ok::<_, Infallible>(respond(&request, &metrics, &shutdown))));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(16 * 1024);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!("admin: {error}");
    }
}

fn respond(request: &Request<Incoming>, metrics: &Metrics, shutdown: &Shutdown) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(Status::MethodNotAllowed, "text/plain", Bytes::from("405 Method Not Allowed\n"));
    }
    match Page::at(request.uri().path()) {
        Some(Page::Health) => {
            let (status, body) = health(shutdown);
            text(status, "text/plain", Bytes::from_static(body))
        }
        Some(Page::Metrics) => text(Status::Ok, PROMETHEUS, metrics.render().into()),
        None => text(Status::NotFound, "text/plain", Bytes::from("404 Not Found: try /health or /metrics\n")),
    }
}

fn text(status: Status, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let code =
        StatusCode::from_bytes(&status.line().as_bytes()[..3]).expect("a status line begins with its code");
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if status == Status::MethodNotAllowed {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
