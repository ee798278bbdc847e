use crate::slot::{FLAG_BITS, STATES, Slot, State};
use clap::{Args, Command, FromArgMatches};
use common::config::Config;
use common::event_loop::Ticks;
use std::fs::File;
use std::time::{Duration, Instant};

#[test]
fn only_idle_connections_with_short_messages_are_read_inline() {
    let mut slot = Slot::new(File::open("/dev/null").unwrap().into(), 7);
    slot.enter(State::Idle);
    assert!(!slot.can_read_inline(), "before its first message");
    slot.expect_long(false);
    assert!(slot.can_read_inline() && !slot.is_queued());
    for state in STATES {
        slot.enter(state);
        assert_eq!(slot.can_read_inline(), state == State::Idle, "{state:?}");
    }
}

#[test]
fn a_word_stores_state_time_and_queue_flag() {
    let mut slot = Slot::new(File::open("/dev/null").unwrap().into(), 7);
    assert!(!slot.is_queued());
    for (state, queued) in STATES.into_iter().flat_map(|state| [(state, true), (state, false)]) {
        slot.set_queued(queued);
        slot.enter(state);
        assert_eq!((slot.state(), slot.is_queued(), slot.quiet_ticks(7)), (state, queued, 0));
        slot.seen(9);
        assert_eq!((slot.state(), slot.is_queued(), slot.quiet_ticks(12)), (state, queued, 3));
        slot.seen(u32::MAX >> FLAG_BITS);
        assert_eq!(slot.quiet_ticks(4), 5, "the time wraps");
        slot.seen(7);
    }
}

/// The longest timeout with the shortest ticks, on a fake clock over ten years: 28 bits suffice although they wrap.
#[test]
fn silence_is_measured_across_wraps() {
    let flags = ["test", "--handshake-timeout", "10ms", "--idle-timeout", "30days"];
    let command = Config::augment_args(Command::new("test"));
    let config = Config::from_arg_matches(&command.get_matches_from(flags)).expect("flags");
    let (start, idle) = (Instant::now(), config.idle_timeout);
    let mut ticks = Ticks::new(&config, start);
    let tick = ticks.len();
    let mut slot = Slot::new(File::open("/dev/null").unwrap().into(), 0);
    for day in 0..3650 {
        let seen = start + idle / 30 * day;
        let mut quiet_at = |after: Duration| {
            ticks.advance(seen + after);
            if after.is_zero() {
                slot.seen(ticks.now());
            }
            ticks.duration(slot.quiet_ticks(ticks.now()))
        };
        assert_eq!(quiet_at(Duration::ZERO), Duration::ZERO);
        for part in 1..=31 {
            let after = idle / 30 * part;
            let quiet = quiet_at(after);
            assert!(after.abs_diff(quiet) <= 2 * tick, "day {day}: {quiet:?} after {after:?}");
        }
    }
}
