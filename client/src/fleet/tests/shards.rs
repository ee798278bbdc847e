//! Results do not depend on the distribution of connections over shards.

use super::server::echo_first;
use super::*;
use tungstenite::WebSocket;

const NONE: Duration = Duration::ZERO;

/// A connected fleet.
fn in_shards(shards: usize, address: std::net::SocketAddr, connections: u64) -> Fleet {
    connected(FleetConfig { shards: Some(shards), ..config(address, connections) })
}

/// A server that resets the first `few` connections after `echoes` each, and serves the others correctly.
fn losing(few: usize, echoes: usize) -> std::net::SocketAddr {
    serve_websocket(move |number, socket: WebSocket<_>| match number < few {
        true => drop(echo_first(echoes, socket)),
        false => echo(socket, |_| {}),
    })
}

/// A server that resets every connection after `echoes`; idle ones stay open.
fn losing_all_that_send(echoes: usize) -> std::net::SocketAddr {
    losing(usize::MAX, echoes)
}

#[test]
fn idle_shards_do_not_end_a_phase() {
    let address = serve_websocket(|_, socket| echo(socket, |_| {}));
    for (shards, connections, active) in
        [(1, 1, 1), (2, 1, 1), (8, 1, 1), (3, 2, 1), (3, 2, 2), (4, 3, 1), (8, 3, 5), (5, 3, 2)]
    {
        let case = format!("{connections} connections, {active} active, in {shards} shards");
        let mut fleet = in_shards(shards, address, connections);
        let taking_part = active.min(connections);
        let phase = fleet.closed_loop(active, milliseconds(10), milliseconds(40), &mut |_| {}).expect(&case);
        assert_eq!((phase.active, phase.missing, &phase.ended_early), (taking_part, 0, &None), "{case}");
        assert!(phase.echoes > taking_part && phase.elapsed == milliseconds(40), "{case}: {phase:?}");
        let phase = fleet.open_loop(active, 1_000.0, NONE, milliseconds(100), &mut |_| {}).expect(&case);
        assert_eq!((phase.sent, phase.missing, &phase.ended_early), (100, 0, &None), "{case}");
        for once in [Fleet::echo_once, Fleet::burst] {
            let phase = once(&mut fleet, &mut |_| {}).expect(&case);
            assert_eq!((phase.echoes, &phase.ended_early), (connections, &None), "{case}");
        }
        let phase = fleet.churn(100.0, milliseconds(300), &mut |_| {}).expect(&case);
        assert_eq!((phase.connected, &phase.ended_early), (connections, &None), "{case}: {phase:?}");
        assert!(
            (20..=30).contains(&phase.opened),
            "{case}: a shard without connections has a share: {phase:?}"
        );
        let phase = fleet.hold(milliseconds(10), &mut |_| {}).expect(&case);
        assert_eq!((phase.held, &phase.ended_early), (connections, &None), "{case}");
        assert_eq!(fleet.close_all(&mut |_| {}).expect(&case).closed, connections, "{case}");
    }
}

#[test]
fn other_shards_go_on_when_one_has_lost_its_active_connections() {
    for shards in 1..=4 {
        let mut fleet = in_shards(shards, losing(1, 3), 4);
        let phase = fleet.closed_loop(4, NONE, milliseconds(300), &mut |_| {}).expect("closed loop");
        assert_eq!((phase.failures.total(), &phase.ended_early), (1, &None), "{shards}: {phase:?}");
        assert_eq!(phase.elapsed, milliseconds(300), "{shards}");
        assert!(phase.echoes > 9 && phase.missing <= 1, "{shards}: {phase:?}");
        assert_eq!(fleet.close_all(&mut |_| {}).expect("close").closed, 3, "{shards}");
    }
}

#[test]
fn a_phase_ends_with_a_reason_when_all_active_connections_are_lost() {
    let hour = Duration::from_secs(3_600);
    for shards in [1, 2, 3, 5] {
        let began = Instant::now();
        let mut fleet = in_shards(shards, losing_all_that_send(3), 5);
        let phase = fleet.closed_loop(2, NONE, hour, &mut |_| {}).expect("closed loop");
        let why = phase.ended_early.clone().unwrap_or_default();
        assert!(why.starts_with("all of 2 active connections were lost ("), "{shards}: {why}");
        assert_eq!((phase.echoes, phase.failures.total()), (6, 2), "{shards}: {phase:?}");
        assert!(phase.elapsed < Duration::from_secs(20), "{shards}: {phase:?}");
        let phase = fleet.open_loop(2, 200.0, NONE, hour, &mut |_| {}).expect("open loop");
        let why = phase.ended_early.clone().unwrap_or_default();
        assert!(why.starts_with("all of 2 active connections were lost ("), "{shards}: {why}");
        assert_eq!((phase.echoes, phase.failures.total()), (6, 2), "{shards}: {phase:?}");
        assert_eq!(fleet.progress().connected, 1, "{shards}: {phase:?}");
        assert!(phase.missing <= 2 + phase.sent - phase.echoes, "no more was due: {shards}: {phase:?}");
        assert!(began.elapsed() < Duration::from_secs(60), "{shards}");
    }
}

#[test]
fn due_messages_without_an_echo_are_missing() {
    for shards in 1..=3 {
        // Each of two connections has 500 messages due; one is reset after 100, during or after the warm-up.
        for (warmup_ms, missing) in [(0, 400), (50, 425), (200, 500)] {
            let mut fleet = in_shards(shards, losing(1, 100), 2);
            let (warmup, duration) = (milliseconds(warmup_ms), milliseconds(1_000));
            let phase = fleet.open_loop(2, 1_000.0, warmup, duration, &mut |_| {}).expect("open loop");
            assert_eq!((phase.missing, phase.echoes), (missing, 1_000 - missing), "{shards}, {warmup_ms} ms");
            assert!(phase.ended_early.is_none() && phase.sent >= phase.echoes, "{shards}: {phase:?}");
        }
    }
}

#[test]
fn messages_due_on_a_lost_connection_are_missing_even_after_a_stop() {
    for shards in 1..=3 {
        let stop: &AtomicBool = Box::leak(Box::default());
        let config = FleetConfig { stop, shards: Some(shards), ..config(losing(1, 10), 2) };
        let mut fleet = connected(config);
        let mut on_tick = |progress: &Progress| stop.store(progress.echoes >= 200, Relaxed);
        let phase =
            fleet.open_loop(2, 1_000.0, NONE, Duration::from_secs(60), &mut on_tick).expect("open loop");
        // Both connections have as many messages due; those in flight at the stop are not missing.
        assert!(phase.missing.abs_diff(phase.echoes - 20) <= 50, "{shards}: {phase:?}");
        assert!(phase.sent - phase.echoes <= 50, "{shards}: {phase:?}");
    }
}

#[test]
fn messages_due_while_a_connection_is_away_are_missing() {
    for shards in 1..=3 {
        let mut config = config(losing(1, 10), 2);
        (config.reconnect, config.shards) = (true, Some(shards));
        let mut fleet = connected(config);
        let phase = fleet.open_loop(2, 200.0, NONE, milliseconds(1_500), &mut |_| {}).expect("open loop");
        assert_eq!((phase.echoes + phase.missing, phase.failures.total()), (300, 0), "{shards}: {phase:?}");
        // It is replaced after 100 to 200 ms, with 100 messages per second due.
        assert!((8..60).contains(&phase.missing), "{shards}: {phase:?}");
    }
}

#[test]
fn churn_keeps_its_rate_when_a_shard_has_no_connections_left() {
    for shards in 1..=3 {
        // The first new connection is rejected: two connections remain, on the other shards.
        let address = serve(|number, stream| match number {
            3 => refuse(stream, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
            _ => echo(tungstenite::accept(stream).expect("a handshake"), |_| {}),
        });
        let mut fleet = in_shards(shards, address, 3);
        let phase = fleet.churn(100.0, milliseconds(1_500), &mut |_| {}).expect("churn");
        assert_eq!((phase.failures.rejected_503, phase.failures.total()), (1, 1), "{shards}: {phase:?}");
        assert_eq!((phase.connected, &phase.ended_early), (2, &None), "{shards}: {phase:?}");
        assert!((110..=150).contains(&phase.closed), "{shards}: {phase:?}");
    }
}

#[test]
fn churn_ends_with_a_reason_when_no_connection_is_left() {
    for shards in 1..=4 {
        let address = serve(|number, stream| match number {
            0..3 => echo(tungstenite::accept(stream).expect("a handshake"), |_| {}),
            _ => refuse(stream, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
        });
        let began = Instant::now();
        let mut fleet = in_shards(shards, address, 3);
        let phase = fleet.churn(500.0, Duration::from_secs(3_600), &mut |_| {}).expect("churn");
        assert_eq!((phase.connected, phase.failures.rejected_503), (0, 3), "{shards}: {phase:?}");
        assert!(phase.ended_early.is_some_and(|why| why.starts_with("stopped after 0")), "{shards}");
        assert!(began.elapsed() < Duration::from_secs(60), "{shards}");
    }
}
