//! How many events per second a schedule has: a constant number, or one that rises linearly.

use std::time::Duration;

/// Events per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// The same all the time.
    Constant(f64),
    /// Rising.
    Ramp(Ramp),
}

/// A rate that rises linearly, and then stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    /// Events per second at the start. May be 0.
    pub from_per_s: f64,
    /// Events per second after [`Ramp::time`]; above `from_per_s`.
    pub to_per_s: f64,
    /// The time of the rise.
    pub time: Duration,
}

impl From<f64> for Rate {
    fn from(per_s: f64) -> Rate {
        Rate::Constant(per_s)
    }
}

impl From<Ramp> for Rate {
    fn from(ramp: Ramp) -> Rate {
        Rate::Ramp(ramp)
    }
}

impl Rate {
    /// The time in which this many events are due.
    pub fn time_for(self, events: u64) -> Duration {
        let events = events as f64;
        let after_ns = match self {
            Rate::Constant(per_s) => events / per_s * 1e9,
            Rate::Ramp(ramp) => Rise::from(ramp).after_ns(events),
        };
        Duration::from_nanos(after_ns as u64)
    }

    /// Whether it is finite, and has an end to wait for: it is above zero sooner or later.
    pub(super) fn is_valid(self) -> bool {
        match self {
            Rate::Constant(per_s) => per_s.is_finite() && per_s > 0.0,
            Rate::Ramp(Ramp { from_per_s, to_per_s, time }) => {
                from_per_s >= 0.0 && to_per_s > from_per_s && to_per_s.is_finite() && !time.is_zero()
            }
        }
    }
}

/// A ramp in nanoseconds: the integral of its rate, solved for time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rise {
    from_per_ns: f64,
    /// Growth of the rate per nanosecond.
    growth: f64,
    time_ns: f64,
    /// Events until the end of the rise.
    events: f64,
    /// Nanoseconds between two events after it.
    interval_ns: f64,
}

impl From<Ramp> for Rise {
    fn from(ramp: Ramp) -> Rise {
        let (from_per_ns, to_per_ns) = (ramp.from_per_s / 1e9, ramp.to_per_s / 1e9);
        let time_ns = ramp.time.as_nanos() as f64;
        Rise {
            from_per_ns,
            growth: (to_per_ns - from_per_ns) / time_ns,
            time_ns,
            // Not from the rates per nanosecond, which are rounded.
            events: (ramp.from_per_s + ramp.to_per_s) * time_ns / 2e9,
            interval_ns: 1e9 / ramp.to_per_s,
        }
    }
}

impl Rise {
    /// When the integral of the rate reaches `events`: the root of from·t + growth·t²/2 = events, in the form without a
    /// difference of near numbers.
    #[cold]
    pub(super) fn after_ns(&self, events: f64) -> f64 {
        if events == 0.0 {
            return 0.0;
        }
        if events >= self.events {
            return self.time_ns + (events - self.events) * self.interval_ns;
        }
        let rate_then = (self.from_per_ns * self.from_per_ns + 2.0 * self.growth * events).sqrt();
        2.0 * events / (self.from_per_ns + rate_then)
    }

    /// The integral of the rate over the first `ns`.
    pub(super) fn events_in(&self, ns: f64) -> f64 {
        match ns - self.time_ns {
            further if further >= 0.0 => self.events + further / self.interval_ns,
            _ => ns * (self.from_per_ns + self.growth * ns / 2.0),
        }
    }
}
