//! The summary of `client anatomy`, in 80 columns: what one connection costs, and then its parts.

use crate::cli;
use crate::live::text::{Row, Tone};
use crate::report::format::{bytes, count, number, percent};
use crate::results::anatomy::{Anatomy, Part, Share};
use std::iter;

/// The headings, one per way of attributing parts to the server.
const GROUPS: [(Share, &str); 4] = [
    (Share::User, "resident memory of the process"),
    (Share::Process, "kernel, for the process"),
    (Share::Server, "kernel, for threads and mappings: counted for the machine, all the server's"),
    (Share::Half, "kernel, for connections: counted for the machine, half of it the server's"),
];

/// Columns of a part's name, and of each of its figures.
const NAME: usize = 44;
const FIGURE: usize = 11;

/// Smaller parts are not shown: they are noise.
const SHOWN_BYTES: f64 = 0.5;

/// The verdict and the table.
pub fn render(anatomy: &Anatomy, colour: bool) -> String {
    let Anatomy { program, pid, url, connections, .. } = anatomy;
    let all = anatomy.user_bytes + anatomy.kernel_bytes;
    let sum = |name: &str, value: f64| Row::of(Tone::Plain, format!("  {name:<30}{:>FIGURE$}", bytes(value)));
    let mut rows = vec![
        Row::of(Tone::Amount, format!("{program}: {} per connection", bytes(all))),
        sum("in user space (smaps_rollup)", anatomy.user_bytes),
        sum("in the kernel", anatomy.kernel_bytes),
        Row::of(Tone::Dim, format!("{} connections, process {pid}, {url}", count(*connections as f64))),
    ];
    let doubt = anatomy.doubt.as_ref().map_or(String::new(), |doubt| cli::fitted(doubt));
    rows.extend(doubt.lines().map(|line| Row::of(Tone::Bad, line)));
    let heading = format!("{:NAME$}{:>FIGURE$}{:>FIGURE$}{:>FIGURE$}", "", "objects", "of", "bytes");
    rows.extend([Row::default(), Row::of(Tone::Strong, heading)]);
    for (share, heading) in GROUPS {
        let of_group = |part: &&Part| part.share == share && part.bytes.abs() >= SHOWN_BYTES;
        let parts: Vec<Row> = anatomy.parts.iter().filter(of_group).flat_map(part).collect();
        if !parts.is_empty() {
            rows.push(Row::of(Tone::Strong, heading));
            rows.extend(parts);
        }
    }
    let (parts, pages) = (anatomy.check.parts_bytes, anatomy.check.pages_bytes);
    let check = [
        format!("Check: both ends' parts of the kernel's memory add up to {} per connection;", bytes(parts)),
        format!("the kernel's pages for them grew by {}, {} of that.", bytes(pages), percent(pages / parts)),
    ];
    rows.push(Row::default());
    rows.extend(check.map(|line| Row::of(Tone::Dim, line)));
    rows.iter().map(|row| row.to_terminal(colour) + "\n").collect()
}

/// A part, with the names of a cache that several kinds of objects share on as many lines as they need.
fn part(part: &Part) -> Vec<Row> {
    let objects = part.objects.map(number).unwrap_or_default();
    let size = part.object_bytes.map(|size| format!("{} B", count(size as f64))).unwrap_or_default();
    let figures = format!("{objects:>FIGURE$}{size:>FIGURE$}{:>FIGURE$}", bytes(part.bytes));
    let mut names = vec![String::new()];
    for name in part.name.split_inclusive(", ") {
        let last = names.len() - 1;
        if !names[last].is_empty() && names[last].len() + name.trim_end().len() > NAME - 4 {
            names.push(String::new());
        }
        let last = names.len() - 1;
        names[last] += name;
    }
    let indented = |name: &String| format!("  {:<width$}", name.trim_end(), width = NAME - 2);
    let first = Row::of(Tone::Plain, indented(&names[0]) + &figures);
    iter::once(first).chain(names[1..].iter().map(|name| Row::of(Tone::Dim, indented(name)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::anatomy::{Check, SCHEMA};

    #[test]
    fn the_verdict_comes_first_and_long_names_fit() {
        let part = |name: &str, share, objects, bytes| Part {
            name: name.into(),
            share,
            objects,
            object_bytes: objects.map(|_| 128),
            bytes,
        };
        let anatomy = Anatomy {
            schema: SCHEMA,
            date: String::new(),
            command: String::new(),
            pid: 4_321,
            program: "stage4-zero-buffer".into(),
            doubt: None,
            url: "ws://127.0.0.1:8000/echo".into(),
            connections: 10_000,
            user_bytes: 11.9,
            kernel_bytes: 4_000.0,
            parts: vec![
                part("heap", Share::User, None, 11.9),
                part("eventpoll_epi, tcp_bind2_bucket, tcp_bind_bucket", Share::Half, Some(1.88), 240.4),
                part("noise", Share::Half, Some(0.01), 0.2),
            ],
            check: Check { parts_bytes: 8_000.0, pages_bytes: 8_160.0 },
        };
        let table = render(&anatomy, false);
        assert!(table.starts_with("stage4-zero-buffer: 4.01 KB per connection\n"), "{table}");
        assert!(table.contains("\n  eventpoll_epi, tcp_bind2_bucket,"), "{table}");
        assert!(table.contains("240 B\n  tcp_bind_bucket\n") && !table.contains("noise"), "{table}");
        assert!(table.contains("8.16 KB, 102% of that"), "{table}");
        assert!(table.lines().all(|line| line.chars().count() < 80), "{table}");
        assert!(render(&anatomy, true).starts_with("\x1b[32mstage4"), "in colour");
    }
}
