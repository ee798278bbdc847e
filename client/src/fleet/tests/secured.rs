//! Fleets over TLS against a server that sends its records in small pieces, and ends connections in several ways.

use super::*;
use crate::tls::{Client, Options};
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use tungstenite::WebSocket;

/// A socket that takes and sends few bytes per call.
pub struct Pieces(TcpStream, usize);

impl Read for Pieces {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let len = bytes.len().min(self.1);
        self.0.read(&mut bytes[..len])
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(self.1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Socket = WebSocket<StreamOwned<ServerConnection, Pieces>>;

/// Calls `serve_one` after both handshakes, with the connection's number.
fn serve_tls(piece_len: usize, serve_one: impl Fn(usize, Socket) + Send + Sync + 'static) -> FleetConfig {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a key");
    let config = Arc::new(config);
    let address: SocketAddr = serve(move |number, stream| {
        stream.set_nodelay(true).expect("a socket");
        let tls = ServerConnection::new(config.clone()).expect("a server");
        if let Ok(socket) = tungstenite::accept(StreamOwned::new(tls, Pieces(stream, piece_len))) {
            serve_one(number, socket);
        }
    });
    let url: Url = format!("wss://{address}/").parse().expect("url");
    let insecure = Options { insecure: true, ..Options::default() };
    FleetConfig {
        tls: Some(Client::new("localhost", insecure).expect("a client")),
        shards: Some(2),
        ..FleetConfig::new(url.resolve().expect("an address"), 4)
    }
}

/// Echoes `count` messages, or until the peer closes; returns the socket if the peer has not.
fn echo(mut socket: Socket, count: usize) -> Option<Socket> {
    for number in 0..count {
        if number % 2 == 1 {
            // The client must go on with other keys.
            socket.get_mut().conn.refresh_traffic_keys().ok()?;
        }
        let message = socket.read().ok()?;
        if !message.is_binary() {
            // Sends the answer to a Close frame.
            let _ = socket.flush();
            return None;
        }
        socket.send(message).ok()?;
    }
    Some(socket)
}

#[test]
fn records_in_pieces_and_new_keys() {
    for (piece_len, payload_len) in [(1, 100), (7, 5_000), (1_500, 100_000)] {
        let server = serve_tls(piece_len, |_, socket| drop(echo(socket, usize::MAX)));
        let mut fleet = connected(FleetConfig { payload_len, ..server });
        for _ in 0..3 {
            let phase = fleet.echo_once(&mut |_| {}).expect("echo");
            assert_eq!((phase.echoes, phase.failures.total()), (4, 0), "{phase:?}");
        }
        let closed = fleet.close_all(&mut |_| {}).expect("close");
        // The server closes its sockets without close_notify.
        assert_eq!((closed.closed, closed.forced, closed.failures.total()), (4, 0, 0), "{closed:?}");
    }
}

/// More than the sockets hold is in flight in both directions.
#[test]
fn a_slow_reader_gets_everything() {
    let server = serve_tls(300, |_, socket| drop(echo(socket, usize::MAX)));
    let mut fleet = connected(FleetConfig { payload_len: 4 << 20, in_flight: 2, ..server });
    let phase = fleet.closed_loop(4, Duration::ZERO, milliseconds(500), &mut |_| {}).expect("closed loop");
    assert_eq!((phase.missing, phase.failures.total()), (0, 0), "{phase:?}");
    assert!(phase.sent >= 8 && phase.echoes == phase.sent, "{phase:?}");
}

#[test]
fn ends_without_a_close_frame_are_losses() {
    for notify in [true, false] {
        let server = serve_tls(1_000, move |_, socket| {
            let Some(mut socket) = echo(socket, 1) else { return };
            if notify {
                let stream = socket.get_mut();
                stream.conn.send_close_notify();
                let _ = stream.flush();
                // The socket stays open: only close_notify says that this is the end.
                let _ = stream.sock.0.read(&mut [0; 64]);
                thread::sleep(Duration::from_secs(60));
            }
        });
        let mut fleet = connected(server);
        let echo = fleet.echo_once(&mut |_| {}).expect("echo");
        assert_eq!(echo.echoes, 4);
        let phase = fleet.hold(milliseconds(20_000), &mut |_| {}).expect("hold");
        let mut failures = echo.failures;
        failures.merge(&phase.failures);
        assert_eq!((phase.held, failures.reset, failures.total()), (0, 4, 4), "{failures:?}");
        let first = failures.first.expect("a text");
        assert!(first.contains("without a Close frame"), "{first}");
    }
}

#[test]
fn a_url_and_its_transport_must_agree() {
    let config = FleetConfig { tls: None, ..serve_tls(1, |_, _| {}) };
    assert!(Fleet::start(config).is_err());
}
