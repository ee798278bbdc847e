//! Servers with several addresses.

use super::super::phase::Outcome;
use super::lying::frame;
use super::*;
use common::frame::{Header, Opcode};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;

/// A fleet to a name with these addresses.
fn named(addrs: &[SocketAddr], connections: u64) -> FleetConfig {
    let url: Url = "ws://echo.example:8000/echo".parse().expect("url");
    FleetConfig { shards: Some(2), ..FleetConfig::new(url.resolve_to(addrs), connections) }
}

/// Connections opened, and failures, per address.
fn counts(fleet: &Fleet) -> Vec<(u64, u64)> {
    fleet.addresses().map(|(_, counts)| (counts.opened, counts.failed)).collect()
}

/// An address that refuses connections.
fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.2:0").expect("bind").local_addr().expect("address")
}

#[test]
fn connections_are_spread_over_all_addresses() {
    let addrs = [0; 3].map(|_| serve_websocket(|_, socket| echo(socket, |_| {})));
    let mut fleet = connected(named(&addrs, 30));
    assert_eq!(counts(&fleet), [(10, 0); 3]);
    let phase = fleet.churn(500.0, milliseconds(200), &mut |_| {}).expect("churn");
    let (opened, failed) =
        counts(&fleet).iter().fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
    assert_eq!((opened, failed), (30 + phase.opened, 0), "{phase:?}");
    let phase = fleet.close_all(&mut |_| {}).expect("close");
    assert_eq!((phase.closed, phase.forced), (30, 0), "{phase:?}");
}

#[test]
fn an_address_that_refuses_is_counted_and_the_others_serve() {
    let (open, closed) = (serve_websocket(|_, socket| echo(socket, |_| {})), closed());
    let mut fleet = Fleet::start(named(&[closed, open], 20)).expect("start");
    let phase = fleet.connect_to(20, None, &mut |_| {}).expect("connect");
    assert_eq!((phase.opened, phase.failures.refused, phase.failures.total()), (10, 10, 10), "{phase:?}");
    assert_eq!(phase.failures.first, Some(format!("{closed}: connect: Connection refused (os error 111)")));
    assert_eq!(counts(&fleet), [(0, 10), (10, 0)]);
    let phase = fleet.echo_once(&mut |_| {}).expect("echo");
    assert_eq!((phase.echoes, phase.failures.total()), (10, 0), "{phase:?}");
}

/// A URL with a name does not say which address refused; one with an address does.
#[test]
fn the_only_address_of_a_name_is_described() {
    let closed = closed();
    let refused = |config| {
        let mut fleet = Fleet::start(config).expect("start");
        fleet.connect_to(2, None, &mut |_| {}).expect("connect").failures.first
    };
    let why = "connect: Connection refused (os error 111)";
    assert_eq!(refused(named(&[closed], 2)), Some(format!("{closed}: {why}")));
    assert_eq!(refused(config(closed, 2)).as_deref(), Some(why));
}

/// Whatever fails, and after slots have moved.
#[test]
fn failures_of_open_connections_are_counted_on_their_address() {
    let good = serve_websocket(|_, socket| echo(socket, |_| {}));
    let liar = serve_websocket(|_, socket| {
        server::answer_raw(socket, |payload| frame(Header::server(Opcode::Text, payload.len()), &payload));
    });
    let full = serve(|_, stream| refuse(stream, "HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n"));
    let mut fleet = Fleet::start(named(&[full, liar, good], 12)).expect("start");
    let phase = fleet.connect_to(12, None, &mut |_| {}).expect("connect");
    assert_eq!((phase.opened, phase.failures.rejected_503), (8, 4), "{phase:?}");
    let phase = fleet.echo_once(&mut |_| {}).expect("echo");
    assert_eq!((phase.echoes, phase.failures.wrong_echo), (4, 4), "{phase:?}");
    assert_eq!(counts(&fleet), [(0, 4), (4, 4), (4, 0)]);
}

#[test]
fn a_server_is_down_only_if_no_address_listens() {
    let (open, closed) = (serve(|_, stream| server::ignore(stream)), closed());
    let mut outcome = Outcome::new(0);
    outcome.failures.add(Class::Reset, 4);
    let down = |servers: &[SocketAddr]| {
        outcome.all_lost(4, &named(servers, 4).endpoint).starts_with("the server is down: ")
    };
    assert!(down(&[closed]) && down(&[closed, closed]));
    assert!(!down(&[open]) && !down(&[closed, open]) && !down(&[open, closed]));
}

#[test]
fn the_name_is_sent_as_host() {
    let (report, reported) = mpsc::channel();
    let address = serve(move |_, mut stream| {
        let mut head = [0; 1024];
        let len = stream.read(&mut head).expect("a request");
        let _ = report.send(String::from_utf8_lossy(&head[..len]).into_owned());
    });
    let _ = connecting(named(&[address], 1));
    let request = reported.recv().expect("a request");
    assert!(request.starts_with("GET /echo HTTP/1.1\r\nHost: echo.example:8000\r\n"), "{request}");
}

fn connecting(config: FleetConfig) -> ConnectPhase {
    let mut fleet = Fleet::start(config).expect("start");
    fleet.connect_to(1, None, &mut |_| {}).expect("connect")
}

#[test]
fn source_addresses_are_for_addresses_of_their_family() {
    let addrs = ["127.0.0.1:9", "127.0.0.2:9"].map(|addr| addr.parse().expect("an address"));
    let source_ips = vec!["127.0.0.1:0".parse().expect("an address"), "[::1]:0".parse().expect("an address")];
    let error = Fleet::start(FleetConfig { source_ips, ..named(&addrs, 1) }).err().expect("an error");
    assert!(
        error.to_string().starts_with("the source address ::1 is IPv6, and echo.example:8000"),
        "{error}"
    );
}
