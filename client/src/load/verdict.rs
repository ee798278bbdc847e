//! Whether a run went well.

use crate::report::format::count;
use crate::results::run::RunReport;

impl RunReport {
    /// Sets the exit status, once all phases are added.
    pub(crate) fn conclude(&mut self) {
        // In an interrupted run, replacements were still under way.
        let lost = self.not_replaced() > 0 && !self.interrupted;
        self.exit_status = u8::from(self.failures.total() > 0 || self.ended_early.is_some() || lost);
    }

    /// What failed and what to do about it, in one line; `None` where nothing failed.
    pub fn complaint(&self) -> Option<String> {
        if self.exit_status == 0 {
            return None;
        }
        let advice: Vec<String> = self
            .failures
            .classes()
            .map(|(class, n)| format!("{} {} ({})", whole(n), class.name(), self.failures.advice(class)))
            .collect();
        let mut parts: Vec<String> = self.ended_early.iter().cloned().collect();
        if self.not_replaced() > 0 {
            parts.push(format!(
                "{} connections were lost and not replaced in time",
                whole(self.not_replaced())
            ));
        }
        parts.extend((!advice.is_empty()).then(|| format!("failed: {}", advice.join(", "))));
        let failed = self.addresses.iter().filter(|address| address.failed > 0);
        let by_address: Vec<String> =
            failed.map(|address| format!("{} on {}", whole(address.failed), address.address)).collect();
        parts.extend((!by_address.is_empty()).then(|| format!("by address: {}", by_address.join(", "))));
        // The cause is not named twice.
        let is_new = |first: &&String| self.ended_early.is_none() && !first.starts_with("connect: ");
        parts.extend(self.failures.first.as_ref().filter(is_new).map(|first| format!("first: {first}")));
        Some(parts.join("; "))
    }
}

fn whole(value: u64) -> String {
    count(value as f64)
}
