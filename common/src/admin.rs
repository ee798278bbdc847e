//! `/health` and `/metrics` on an address of their own, from a thread of their own, so that they answer in the
//! middle of a connection storm.

use crate::http::{Page, Status};
use crate::metrics::Metrics;
use crate::shard::{PROMETHEUS, health};
use crate::shutdown::Shutdown;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};
use tokio::sync::Semaphore;

/// Connections served at a time; more wait in the backlog.
const MAX_CONNECTIONS: usize = 64;

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
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("admin: cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let (metrics, shutdown) = (metrics.clone(), shutdown.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = respond(&request, &metrics, &shutdown);
                async { Ok::<_, Infallible>(response) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .max_buf_size(16 * 1024);
            if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!("admin: {error}");
            }
            drop(place);
        });
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
    let status =
        StatusCode::from_bytes(&status.line().as_bytes()[..3]).expect("a status line begins with its code");
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, content_type.parse().expect("a media type is a header value"));
    response
}
