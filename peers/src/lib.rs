//! What the peers share: the address, the descriptor limit, and an accept loop for crates that take a socket.

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Any error that ends a connection; it is ignored.
pub type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Hyper's response to an upgrade.
pub type Upgrade = Response<Empty<Bytes>>;

/// The address to listen on, from the command line; raises the soft limit on descriptors to the hard one.
///
/// # Errors
/// If the command line has no address, or the limit cannot be raised.
pub fn address() -> io::Result<String> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    std::env::args().nth(1).ok_or(io::Error::other("usage: NAME 127.0.0.1:PORT"))
}

/// Accepts forever, with a task per connection. Out of descriptors, it pauses, as axum does.
///
/// # Errors
/// If it cannot listen.
pub async fn serve<F>(connection: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let listener = TcpListener::bind(address()?).await?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(connection(stream));
            }
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

/// Serves HTTP on a connection, for crates that upgrade it through hyper.
///
/// # Errors
/// Hyper's.
pub async fn http<E>(stream: TcpStream, upgrade: fn(Request<Incoming>) -> Result<Upgrade, E>) -> Outcome
where
    E: Error + Send + Sync + 'static,
{
    let service = service_fn(async |request| upgrade(request));
    Ok(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await?)
}
