//! `/health`, `/ready`, `/metrics` and the live page on an address of their own, from a thread of their own, so that they answer in
//! the middle of a connection storm.

use crate::http::{Page, Status};
use crate::live::{self, Live};
use crate::shard::{ACCEPT_PAUSE, PROMETHEUS, health, warn_once_a_second};
use http_body_util::channel::Channel;
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::ready;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use std::{io, thread};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep, timeout_at};

/// Connections held at a time, and so requests; those that the live page listens to have places of their own.
const MAX_CONNECTIONS: usize = 64;

/// How long a connection is sure of its place. After that the oldest must make way for one more, so that nobody is locked
/// out by those who hold theirs and say nothing, or read nothing.
const SURE: Duration = Duration::from_secs(1);

/// Time for a request to arrive, and how long a connection may idle between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer may leave unacknowledged what it was sent, before it has vanished (tcp(7), `TCP_USER_TIMEOUT`).
const UNTAKEN: Duration = Duration::from_secs(30);

type Body = Either<Full<Bytes>, Channel<Bytes>>;

/// One of [`MAX_CONNECTIONS`], until its connection releases it.
struct Place(Mutex<Option<OwnedSemaphorePermit>>);

impl Place {
    fn give_up(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn is_held(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// A connection that may have to make way.
struct Connection {
    since: Instant,
    place: Weak<Place>,
    task: JoinHandle<()>,
}

impl Connection {
    /// False once it has ended, too.
    fn holds_a_place(&self) -> bool {
        self.place.upgrade().is_some_and(|place| place.is_held())
    }
}

/// Starts the admin server's thread. It ends with the process.
///
/// # Errors
/// If the thread or its runtime cannot be had.
pub(crate) fn start(listener: TcpListener, live: Arc<Live>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("admin".into()).spawn(move || {
        if let Err(error) = runtime.block_on(serve(listener, live)) {
            tracing::error!("the admin server has ended: {error}");
        }
    })?;
    Ok(())
}

async fn serve(listener: TcpListener, live: Arc<Live>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = VecDeque::<Connection>::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn_once_a_second(|| tracing::warn!("admin: cannot accept: {error}"));
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = loop {
            connections.retain(Connection::holds_a_place);
            let make_way = connections.front().map_or_else(Instant::now, |oldest| oldest.since + SURE);
            match timeout_at(make_way, places.clone().acquire_owned()).await {
                Ok(place) => break place.expect("the semaphore is never closed"),
                Err(_) => {
                    // If this thread itself stalled, answer pending requests first.
                    yield_now().await;
                    connections.retain(Connection::holds_a_place);
                    if places.available_permits() == 0
                        && let Some(oldest) = connections.pop_front()
                    {
                        oldest.task.abort();
                        // The task's end frees its place; an error here means that it has ended, too.
                        let _ = oldest.task.await;
                    }
                }
            }
        };
        let place = Arc::new(Place(Mutex::new(Some(place))));
        let held = Arc::downgrade(&place);
        let task = tokio::spawn(answer(stream, live.clone(), place));
        connections.push_back(Connection { since: Instant::now(), place: held, task });
    }
}

/// Answers the requests of a connection. It ends behind one with content, which is not waited for.
async fn answer(stream: TcpStream, live: Arc<Live>, place: Arc<Place>) {
    // It fails where the connection is no more, which is as good.
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNTAKEN.as_millis() as u32);
    let service = service_fn(|request| ready(Ok::<_, Infallible>(respond(&request, &live, &place))));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(16 * 1024);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!("admin: {error}");
    }
}

fn respond(request: &Request<Incoming>, live: &Arc<Live>, place: &Place) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(Status::MethodNotAllowed, "text/plain", Bytes::from("405 Method Not Allowed\n"));
    }
    let path = request.uri().path();
    match Page::at(path) {
        Some(Page::Health) => {
            let (status, body) = health(&live.shutdown);
            return text(status, "text/plain", Bytes::from_static(body));
        }
        Some(Page::Ready) => {
            let (status, body) = live.metrics.readiness(&live.shutdown).answer();
            return text(status, "text/plain", Bytes::from_static(body));
        }
        Some(Page::Metrics) => {
            return text(Status::Ok, PROMETHEUS, live.metrics.render(&live.shutdown).into());
        }
        None if path == "/events" => return events(request.method(), live, place),
        None => {}
    }
    match live::FILES.iter().find(|(file, ..)| *file == path) {
        Some((_, content_type, content)) => page(content_type, content),
        None => {
            let hint = "404 Not Found: try /, /health, /ready or /metrics\n";
            text(Status::NotFound, "text/plain", Bytes::from(hint))
        }
    }
}

/// A file of the live page.
fn page(content_type: &'static str, content: &'static str) -> Response<Body> {
    let mut response = text(Status::Ok, content_type, Bytes::from_static(content.as_bytes()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(live::POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The live page's events. Their connection moves from its place among the [`MAX_CONNECTIONS`] to a viewer's place, so
/// that neither is closed to admit the other.
fn events(method: &Method, live: &Arc<Live>, place: &Place) -> Response<Body> {
    let mut response = text(Status::Ok, "text/event-stream", Bytes::new());
    if method == Method::GET {
        let Some(events) = live.look() else {
            let mut response = text(Status::Unavailable, "text/plain", Bytes::from("too many viewers\n"));
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
            return response;
        };
        place.give_up();
        *response.body_mut() = Either::Right(events);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn text(status: Status, content_type: &'static str, body: Bytes) -> Response<Body> {
    let code =
        StatusCode::from_bytes(&status.line().as_bytes()[..3]).expect("a status line begins with its code");
    let mut response = Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == Status::MethodNotAllowed {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
