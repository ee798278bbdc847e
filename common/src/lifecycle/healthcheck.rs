//! `--healthcheck`: a server asked by its own program whether it is well, so that an image needs neither a shell nor
//! curl for its probe.

use crate::config::MAX_HEAD_LEN;
use anyhow::{Context, bail, ensure};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Time for all of it. The admin address answers at once whatever the load; a probe of Docker's that takes 3 seconds
/// has failed as well.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the server whose `--admin-addr` this is, and returns where it answered.
///
/// # Errors
/// In one line: the server does not listen, does not answer within [`TIMEOUT`], or answers other than 200, as in a drain.
pub(crate) fn ask(admin: SocketAddr) -> anyhow::Result<String> {
    ensure!(admin.port() != 0, "--admin-addr {admin} has no port to probe: give the server's port");
    let url = format!("http://{}/health", reachable(admin));
    let status = status(reachable(admin)).with_context(|| format!("{url} does not answer"))?;
    if status != 200 {
        bail!("{url} answers {status}, not 200");
    }
    Ok(url)
}

/// The address at which to reach a server that listens on `addr`: the unspecified address includes loopback.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// The status code of `/health`.
fn status(addr: SocketAddr) -> anyhow::Result<u16> {
    let deadline = Instant::now() + TIMEOUT;
    let mut stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let (mut head, mut len) = ([0; MAX_HEAD_LEN], 0);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // A timeout of zero would be none.
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(&mut head[len..])? {
            0 => bail!("incomplete head of {len} bytes"),
            more => len += more,
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&head[..len]).context("that is not HTTP")?;
        if let (httparse::Status::Complete(_), Some(code)) = (parsed, response.code) {
            return Ok(code);
        }
        ensure!(Instant::now() < deadline, "no whole answer after {TIMEOUT:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// What is said of a server that gives this answer, in these pieces.
    fn verdict(pieces: &'static [&'static str]) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("its address");
        let server = thread::spawn(move || {
            let (mut peer, _) = listener.accept().expect("a connection");
            peer.set_nodelay(true).expect("pieces as they are written");
            let mut request = [0; 512];
            let len = peer.read(&mut request).expect("a request");
            assert!(request[..len].starts_with(b"GET /health HTTP/1.1\r\n"));
            for piece in pieces {
                // It may have seen enough.
                let _ = peer.write_all(piece.as_bytes());
            }
        });
        let verdict = ask(addr).map_err(|error| format!("{error:#}"));
        server.join().expect("the server's thread");
        verdict
    }

    #[test]
    fn only_200_is_well() {
        assert!(verdict(&["HTTP/1.1 200 OK\r\n\r\nok\n"]).is_ok());
        assert!(verdict(&["HTTP/1.", "1 200 O", "K\r\nContent-Length: 3\r", "\n\r\n"]).is_ok());
        for (answer, what) in [
            (&["HTTP/1.1 503 Service Unavailable\r\n\r\n"] as &[_], "answers 503, not 200"),
            (&["HTTP/1.1 204 No Content\r\n\r\n"], "answers 204"),
            (&["SSH-2.0-OpenSSH\r\n"], "that is not HTTP"),
            (&["HTTP/1.1 200 OK\r\n"], "incomplete head of 17 bytes"),
            (&[], "incomplete head of 0 bytes"),
        ] {
            let error = verdict(answer).expect_err(what);
            assert!(error.contains(what) && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn who_says_nothing_or_too_much_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let began = Instant::now();
        let error = ask(listener.local_addr().expect("its address")).expect_err("nobody accepts");
        assert!(format!("{error:#}").contains("does not answer"), "{error:#}");
        assert!((TIMEOUT..TIMEOUT * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
        static ENDLESS: &[&str] = &["HTTP/1.1 200 OK\r\n", LONG, LONG];
        static LONG: &str = match std::str::from_utf8(&[b'x'; MAX_HEAD_LEN]) {
            Ok(text) => text,
            Err(_) => unreachable!(),
        };
        assert!(verdict(ENDLESS).is_err(), "a head without end");
    }

    #[test]
    fn every_address_includes_loopback() {
        let reached = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(reached("0.0.0.0:8001"), "127.0.0.1:8001");
        assert_eq!(reached("[::]:8001"), "[::1]:8001");
        assert_eq!(reached("192.0.2.1:80"), "192.0.2.1:80");
        let error = ask("127.0.0.1:0".parse().expect("an address")).expect_err("no port");
        assert!(error.to_string().contains("has no port to probe"), "{error}");
    }
}
