//! The summary of `client anatomy`.

use crate::report::format::{bytes, count, number};
use crate::results::anatomy::{Anatomy, Part, Share};
use std::fmt::Write;

/// The headings, one per way of attributing parts to the server.
const GROUPS: [(Share, &str); 4] = [
    (Share::User, "resident memory of the process"),
    (Share::Process, "the kernel's, for the process"),
    (
        Share::Server,
        "the kernel's, of threads and mappings (counted for the machine, all of it the server's)",
    ),
    (Share::Half, "the kernel's, of connections (counted for the machine, half of it the server's)"),
];

/// Smaller parts are not shown: they are noise.
const SHOWN_BYTES: f64 = 0.5;

/// The whole table.
pub fn render(anatomy: &Anatomy) -> String {
    let Anatomy { program, pid, url, connections, .. } = anatomy;
    let connections = count(*connections as f64);
    let mut text = format!("{program} ({pid}) with {connections} connections more, at {url}\n");
    text.extend(anatomy.doubt.iter().map(|doubt| format!("{doubt}\n")));
    text.push('\n');
    let _ = writeln!(text, "{:<52} {:>8} {:>8} {:>14}", "", "objects", "of", "per connection");
    for (share, heading) in GROUPS {
        let rows: Vec<&Part> = anatomy
            .parts
            .iter()
            .filter(|part| part.share == share && part.bytes.abs() >= SHOWN_BYTES)
            .collect();
        if !rows.is_empty() {
            let _ = writeln!(text, "{heading}");
            rows.iter().for_each(|part| push_row(&mut text, part));
        }
    }
    let all = anatomy.user_bytes + anatomy.kernel_bytes;
    let sum = |name: &str, value: f64| format!("{name:<52} {:>32}\n", bytes(value));
    text += "\n";
    text += &sum("in user space (smaps_rollup)", anatomy.user_bytes);
    text += &sum("in the kernel", anatomy.kernel_bytes);
    text += &sum("per connection, at the server", all);
    let (parts, pages) = (anatomy.check.parts_bytes, anatomy.check.pages_bytes);
    let _ = writeln!(
        text,
        "\nBoth ends together: these parts of the kernel's are {}, and its pages for them grew by {} ({}% of that).",
        bytes(parts),
        bytes(pages),
        number(pages / parts * 100.0)
    );
    text
}

fn push_row(text: &mut String, part: &Part) {
    let objects = part.objects.map(number).unwrap_or_default();
    let size = part.object_bytes.map(|size| format!("{} B", count(size as f64))).unwrap_or_default();
    let _ = writeln!(text, "  {:<50} {objects:>8} {size:>8} {:>14}", part.name, bytes(part.bytes));
}
