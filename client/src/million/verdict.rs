//! Whether a run held all connections and lost nothing.

use super::record::Run;
use crate::fleet::Class;
use crate::report::format::count;

impl Run {
    /// What failed, in one line; `None` where it held all connections asked for and lost nothing.
    pub fn complaint(&self) -> Option<String> {
        let mut parts: Vec<String> = self.error.iter().cloned().collect();
        if self.interrupted {
            parts.push(format!("interrupted with {} connections", whole(self.held)));
        } else if self.error.is_none() {
            parts.extend(self.shortfall());
            parts.extend(self.losses());
        }
        (!parts.is_empty()).then(|| format!("{}: {}", self.package, parts.join("; ")))
    }

    fn shortfall(&self) -> Option<String> {
        let reason = self.stopped.as_deref().unwrap_or("unknown");
        (self.held < self.asked).then(|| {
            format!("stopped at {} of {} connections: {reason}", whole(self.held), whole(self.asked))
        })
    }

    /// The limit that stopped it, as expected of a server that runs into one.
    pub fn limit(&self) -> Option<&str> {
        self.stopped
            .as_deref()
            .filter(|_| self.held < self.asked && !self.interrupted && self.error.is_none())
    }

    /// What failed or was lost besides, in one line.
    pub fn failure(&self) -> Option<String> {
        if self.limit().is_none() {
            return self.complaint();
        }
        let mut rest = self.clone();
        rest.asked = rest.held;
        // The limit's way to stop it.
        rest.failures.rejected_503 = 0;
        rest.complaint()
    }

    fn losses(&self) -> Vec<String> {
        let failed = self.failures.classes().map(|(class, n)| match class {
            // The reason in the server's metrics says more than the status 503.
            Class::Rejected503 if self.stopped.is_some() => format!("{} rejected with 503", whole(n)),
            class => format!("{} {} ({})", whole(n), class.name(), self.failures.advice(class)),
        });
        let mut parts: Vec<String> = failed.collect();
        let lost = self.hold.map_or(0, |hold| hold.lost);
        let missing: u64 =
            [&self.each, &self.open_loop, &self.burst].into_iter().flatten().map(|phase| phase.missing).sum();
        let forced = self.close.map_or(0, |close| close.forced);
        for (n, what) in [
            (lost, "connections lost while idle"),
            (missing, "echoes missing"),
            (forced, "connections reset at the end"),
        ] {
            parts.extend((n > 0).then(|| format!("{} {what}", whole(n))));
        }
        if let Some(counts) = self.counts.connections.filter(|counts| !counts.agree) {
            parts.push(format!(
                "connections do not agree: client {}, server {}",
                whole(counts.client_open),
                whole(counts.server_active)
            ));
        }
        if let Some(counts) = self.counts.messages.filter(|counts| !counts.agree) {
            parts.push(format!(
                "messages do not agree: client {}, server {} received and {} sent",
                whole(counts.client_echoes),
                whole(counts.server_received),
                whole(counts.server_sent)
            ));
        }
        parts
    }
}

pub(super) fn whole(value: u64) -> String {
    count(value as f64)
}

#[cfg(test)]
mod tests {
    use super::super::record::ConnectionCounts;
    use super::*;
    use crate::results::Hold;

    fn run() -> Run {
        Run { package: "stage4-zero-buffer".into(), asked: 1_000, goal: 1_000, held: 1_000, ..Run::default() }
    }

    #[test]
    fn nothing_to_complain_of() {
        assert_eq!(run().complaint(), None);
    }

    #[test]
    fn a_limit_is_no_failure() {
        let mut run = run();
        (run.held, run.stopped) = (600, Some("vm.max_map_count".into()));
        run.failures.add(Class::Rejected503, 400);
        assert_eq!((run.limit(), run.failure()), (Some("vm.max_map_count"), None));
        run.failures.add(Class::Reset, 3);
        assert!(run.failure().is_some_and(|line| line.contains("3 reset") && !line.contains("600")));
        run.stopped = None;
        assert!(run.limit().is_none() && run.failure().is_some_and(|line| line.contains("unknown")));
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut run = run();
        run.held = 600;
        run.stopped = Some("vm.max_map_count".into());
        run.failures.add(Class::Rejected503, 400);
        run.hold = Some(Hold { lost: 2, ..Hold::default() });
        run.counts.connections = Some(ConnectionCounts { client_open: 598, ..ConnectionCounts::default() });
        let line = run.complaint().expect("a complaint");
        for part in [
            "stage4-zero-buffer: stopped at 600 of 1,000 connections: vm.max_map_count",
            "400 rejected with 503",
            "2 connections lost while idle",
            "connections do not agree: client 598, server 0",
        ] {
            assert!(line.contains(part), "{part} is missing in {line}");
        }
        run.interrupted = true;
        assert_eq!(
            run.complaint().expect("a complaint"),
            "stage4-zero-buffer: interrupted with 600 connections"
        );
    }
}
