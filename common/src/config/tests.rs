//! Values of flags, and what `--help` says of them.

use super::*;

#[test]
fn sizes_and_times() {
    assert_eq!(size("4KiB"), Ok(4096));
    assert_eq!(size("65536"), Ok(65_536));
    assert!(
        size("0").is_err() && size("-1").is_err() && size("many").is_err() && size("99999999TiB").is_err()
    );
    assert_eq!(message_size("1GiB"), Ok(1 << 30));
    assert_eq!(message_size("8EiB"), Err("not a size such as 4KiB, 16MiB or 65536".into()));
    assert_eq!(message_size("1073741825"), Err("must be at most 1GiB".into()));
    assert_eq!(read_buffer_size("17MiB"), Err("must be at most 16MiB".into()));
    assert_eq!(shards("4096").map(NonZeroUsize::get), Ok(4096));
    assert!(["0", "-1", "4097", "two", "99999999999999999999"].iter().all(|text| shards(text).is_err()));
    assert!(connections("1000000001").is_err() && connections("1000000000").is_ok());
    assert_eq!(quiet_time("0"), Ok(Duration::ZERO));
    assert_eq!(quiet_time("1m 30s"), Ok(Duration::from_secs(90)));
    assert_eq!(drain_timeout("0s"), Ok(Duration::ZERO));
    for text in ["-1s", "soon", "900years", "99999999999999999999s", ""] {
        assert!(
            quiet_time(text).is_err() && handshake_timeout(text).is_err() && drain_timeout(text).is_err(),
            "{text}"
        );
    }
}

#[test]
fn each_time_has_bounds_and_both_help_and_error_tell_them() {
    let help = Config::augment_args(Command::new("test")).render_long_help().to_string();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    type Parse = fn(&str) -> Result<Duration, String>;
    let times: [(Parse, [&str; 2], [&str; 2], &str); 3] = [
        (handshake_timeout, ["10ms", "1h"], ["9999us", "3600001ms"], "10ms to 1h"),
        (quiet_time, ["10ms", "30days"], ["1ns", "90days"], "10ms to 30days"),
        (drain_timeout, ["0s", "1day"], ["2days", "1year"], "0s to 1day"),
    ];
    for (parse, within, beyond, bounds) in times {
        assert!(within.iter().all(|text| parse(text).is_ok()), "{bounds}");
        for text in beyond {
            let error = parse(text).expect_err(text);
            assert!(error.contains(bounds), "{text}: {error}");
        }
        assert!(help.contains(bounds), "--help does not state {bounds}");
    }
}

#[test]
fn every_flag_has_a_heading() {
    let flags = Config::augment_args(Command::new("test"));
    let under_a_heading = |flag: &str| HEADINGS.iter().any(|(_, flags)| flags.contains(&flag));
    for flag in flags.get_arguments().map(|flag| flag.get_id().as_str()) {
        assert!(under_a_heading(flag) || flag == "healthcheck", "--{flag}");
    }
}
