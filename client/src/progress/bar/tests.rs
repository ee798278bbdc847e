//! A real fleet, phase by phase: each starts its counts at zero, and ends with the figures of its result.

use super::*;
use crate::fleet::{Fleet, FleetConfig, Url};
use std::net::{SocketAddr, TcpListener};
use std::thread;

/// A server that delays the handshake by 300 ms, which must not show in echoes, and each echo by 2 ms.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(300));
                let Ok(mut socket) = tungstenite::accept(stream) else { return };
                while let Ok(message) = socket.read() {
                    thread::sleep(Duration::from_millis(2));
                    if message.is_binary() && socket.send(message).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// What a run shows.
struct Shown {
    bar: Bar,
    lane: Lane,
}

impl Shown {
    fn new() -> Shown {
        let lane = Lane::default();
        Shown { bar: Bar::new(Look::Lane(lane.clone()), "a run".into(), Sampler::Unwatched), lane }
    }

    fn last(&self) -> (Panel, History) {
        self.lane.lock().expect("lane").clone().expect("it was drawn")
    }

    /// Checks that a phase begins without counts of the one before.
    #[track_caller]
    fn assert_blank(&self, phase: &str) {
        let (panel, history) = self.last();
        assert_eq!((panel.phase.as_str(), panel.part), (phase, 0.0), "{panel:?}");
        assert_eq!((history.rates_per_s(), history.times_us()), ((0.0, 0.0), None), "{phase}");
        assert!(history.latest(999).all(|slice| slice.per_s == 0.0 && slice.times_us.is_none()), "{phase}");
    }

    /// Checks that median and 99th percentile are those of the result, within the buckets' resolution.
    #[track_caller]
    fn assert_times(&self, expected: &hdrhistogram::Histogram<u64>) {
        let [p50, p99, _] = self.bar.history.times_us().expect("times");
        for (shown, quantile) in [(p50, 0.5), (p99, 0.99)] {
            let us = expected.value_at_quantile(quantile) as f64 / 1e3;
            assert!((shown / us - 1.0).abs() < 0.08, "{quantile}: {shown} is shown, {us} is reported");
        }
    }
}

#[test]
fn every_phase_begins_anew_and_ends_as_it_is_reported() {
    let url: Url = format!("ws://{}/", server()).parse().expect("url");
    let endpoint = url.resolve().expect("an address");
    let mut fleet = Fleet::start(FleetConfig::new(endpoint, 40)).expect("start");
    let mut shown = Shown::new();
    let second = Duration::from_secs(1);

    shown.bar.begin("connecting", Goal::Connections(40));
    let phase = fleet.connect_to(40, None, &mut |progress| shown.bar.tick(progress)).expect("connect");
    shown.assert_times(&phase.handshake);

    shown.bar.begin("holding", Goal::Time(second));
    shown.assert_blank("holding");
    fleet.hold(second, &mut |progress| shown.bar.tick(progress)).expect("hold");
    let (_, history) = shown.last();
    assert_eq!((history.rates_per_s(), history.times_us()), ((0.0, 0.0), None), "nothing was echoed");

    shown.bar.begin_measured("echoing", second, second);
    shown.assert_blank("warming up");
    let mut busy = 0.0;
    let phase = fleet.open_loop(40, 500.0, second, second, &mut |progress| {
        shown.bar.tick(progress);
        let (panel, history) = shown.last();
        if panel.phase == "warming up" {
            assert_eq!(history.times_us(), None, "a warm-up records no times");
            busy = history.rates_per_s().1.max(busy);
        }
    });
    let phase = phase.expect("open loop");
    assert!(busy > 100.0, "the warm-up has a rate of its own: {busy}");
    shown.assert_times(&phase.latency);
    let (panel, _) = shown.last();
    assert_eq!(panel.phase, "echoing");

    shown.bar.begin("churning", Goal::Churn(second));
    // The latest progress of the phase before was shown first.
    shown.assert_blank("churning");
    let phase = fleet.churn(20.0, second, &mut |progress| shown.bar.tick(progress)).expect("churn");
    assert_eq!(shown.last().0.times, "handshake");
    shown.assert_times(&phase.handshake);

    shown.bar.begin("bursting", Goal::Echoes(40));
    shown.assert_blank("bursting");
    let phase = fleet.burst(&mut |progress| shown.bar.tick(progress)).expect("burst");
    shown.assert_times(&phase.latency);

    shown.bar.begin("closing", Goal::Close);
    shown.assert_blank("closing");
    assert_eq!(shown.last().0.done, "0 of 40");
}

/// The counts of a second fleet start at zero, even if its first phases were not shown.
#[test]
fn what_was_not_shown_is_not_counted_later() {
    let mut shown = Shown::new();
    let progress = |connected, echoes| Progress { connected, echoes, ..Progress::default() };
    shown.bar.begin("closed loop", Goal::Echoes(100));
    shown.bar.tick(&progress(2_000, 100_000));
    thread::sleep(Duration::from_millis(200));
    shown.bar.tick(&progress(2_000, 100_050));
    assert_eq!(shown.last().0.done, "50 of 100");
    shown.bar.restart("another server".into());
    shown.bar.begin("connecting", Goal::Connections(30));
    assert_eq!(shown.last().0.done, "0 of 30");
    shown.bar.begin("closing", Goal::Close);
    shown.bar.tick(&progress(30, 7));
    thread::sleep(Duration::from_millis(200));
    shown.bar.tick(&progress(20, 7));
    assert_eq!(shown.last().0.done, "10 of 30");
    let (per_s, _) = shown.last().1.rates_per_s();
    assert!(per_s > 1.0 && per_s <= 50.0, "ten in 200 ms: {per_s}");
}
