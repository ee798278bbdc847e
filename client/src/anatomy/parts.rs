//! From two snapshots to what one connection costs, part by part.

use super::snapshot::Snapshot;
use crate::results::anatomy::{Check, Part, Share};
use crate::watch::{Kind, Owner, Slab};
use std::collections::BTreeMap;
use std::path::Path;

/// Caches that grew by fewer objects per connection at the server are added up in one row: they belong to other programs,
/// or are allocated once for many connections.
const WORTH_A_ROW_OBJECTS: f64 = 0.5;

/// What each of `connections` added between two snapshots, part by part, at the server's end.
pub fn parts(before: &Snapshot, after: &Snapshot, connections: u64) -> (Vec<Part>, Check) {
    let each = |now: u64, then: u64| (now as f64 - then as f64) / connections as f64;
    let mut parts = user_parts(before, after, &each);
    let own = |name: &str, share, bytes| Part {
        name: name.into(),
        share,
        objects: None,
        object_bytes: None,
        bytes,
    };
    parts.push(own("page tables", Share::Process, each(after.page_table_bytes, before.page_table_bytes)));
    let stacks = each(after.kernel_stack_bytes, before.kernel_stack_bytes);
    parts.push(own("threads' stacks in the kernel", Share::Server, stacks));
    match before.slabs.as_ref().zip(after.slabs.as_ref()) {
        Some((before, after)) => {
            let before = before.iter().map(|slab| (slab.name.as_str(), slab)).collect();
            parts.extend(slab_parts(&before, after, Owner::Server, &each));
            parts.extend(slab_parts(&before, after, Owner::BothEnds, &each));
        }
        None => parts.push(own("slab caches", Share::Half, each(after.slab_bytes, before.slab_bytes) / 2.0)),
    }
    let of_both_ends = |part: &Part| match part.share {
        Share::User => 0.0,
        Share::Process | Share::Server => part.bytes,
        Share::Half => 2.0 * part.bytes,
    };
    let check = Check {
        parts_bytes: parts.iter().map(of_both_ends).sum(),
        pages_bytes: each(after.kernel_page_bytes(), before.kernel_page_bytes()),
    };
    (parts, check)
}

fn user_parts(before: &Snapshot, after: &Snapshot, each: &impl Fn(u64, u64) -> f64) -> Vec<Part> {
    let part = |kind: Kind, bytes| Part {
        name: kind.name().into(),
        share: Share::User,
        objects: None,
        object_bytes: None,
        bytes,
    };
    let then = |kind| before.user_bytes.get(kind).copied().unwrap_or(0);
    after.user_bytes.iter().map(|(kind, &now)| part(*kind, each(now, then(kind)))).collect()
}

/// The caches of one owner: a row for each of [`WORTH_A_ROW_OBJECTS`] or more, and one for all others.
fn slab_parts(
    before: &BTreeMap<&str, &Slab>,
    after: &[Slab],
    owner: Owner,
    each: &impl Fn(u64, u64) -> f64,
) -> Vec<Part> {
    let (share, ends) = if owner == Owner::BothEnds { (Share::Half, 2.0) } else { (Share::Server, 1.0) };
    let (mut rows, mut others) = (Vec::new(), 0.0);
    for now in after.iter().filter(|slab| slab.owner() == owner) {
        let objects_then = before.get(now.name.as_str()).map_or(0, |slab| slab.objects);
        let objects = each(now.objects, objects_then) / ends;
        let bytes = objects * now.object_bytes as f64;
        if objects.abs() < WORTH_A_ROW_OBJECTS {
            others += bytes;
        } else {
            let mut name = now.name.clone();
            now.shared_with(Path::new("/sys")).iter().for_each(|other| name += &format!(", {other}"));
            let (objects, object_bytes) = (Some(objects), Some(now.object_bytes));
            rows.push(Part { name, share, objects, object_bytes, bytes });
        }
    }
    rows.sort_by(|a, b| b.bytes.total_cmp(&a.bytes));
    rows.push(Part { name: "other caches".into(), share, objects: None, object_bytes: None, bytes: others });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slab(name: &str, objects: u64, object_bytes: u64) -> Slab {
        Slab { name: name.into(), objects, object_bytes }
    }

    /// A server without connections, and with 100, each of which is a thread.
    fn snapshots() -> (Snapshot, Snapshot) {
        let before = Snapshot {
            user_bytes: BTreeMap::from([(Kind::Files, 500_000), (Kind::Heap, 10_000)]),
            rss_bytes: 510_000,
            page_table_bytes: 4_096,
            kernel_stack_bytes: 1_000_000,
            slab_bytes: 5_000_000,
            slabs: Some(vec![
                slab("TCP", 10, 2_368),
                slab("task_struct", 90, 6_000),
                slab("dentry", 7_000, 192),
            ]),
            all_page_table_bytes: 50_000,
        };
        let after = Snapshot {
            user_bytes: BTreeMap::from([
                (Kind::Files, 500_000),
                (Kind::Heap, 11_000),
                (Kind::Stacks, 1_200_000),
            ]),
            rss_bytes: 1_711_000,
            page_table_bytes: 24_096,
            kernel_stack_bytes: 2_600_000,
            slab_bytes: 7_000_000,
            slabs: Some(vec![
                slab("TCP", 210, 2_368),
                slab("task_struct", 190, 6_000),
                slab("dentry", 7_050, 192),
                slab("filp", 200, 200),
            ]),
            all_page_table_bytes: 80_000,
        };
        (before, after)
    }

    fn rows(parts: &[Part], share: Share) -> Vec<(&str, Option<f64>, f64)> {
        let of_share = parts.iter().filter(|part| part.share == share);
        of_share.map(|part| (part.name.as_str(), part.objects, part.bytes)).collect()
    }

    #[test]
    fn attributes_each_part() {
        let (before, after) = snapshots();
        let (parts, check) = parts(&before, &after, 100);
        let user = [("program and libraries", None, 0.0), ("heap", None, 10.0), ("stacks", None, 12_000.0)];
        assert_eq!(rows(&parts, Share::User), user);
        assert_eq!(rows(&parts, Share::Process), [("page tables", None, 200.0)]);
        let threads = [
            ("threads' stacks in the kernel", None, 16_000.0),
            ("task_struct", Some(1.0), 6_000.0),
            ("other caches", None, 0.0),
        ];
        assert_eq!(rows(&parts, Share::Server), threads);
        // A cache that did not exist before, and one that grew for other programs.
        let ends = [("TCP", Some(1.0), 2_368.0), ("filp", Some(1.0), 200.0), ("other caches", None, 48.0)];
        assert_eq!(rows(&parts, Share::Half), ends);
        let both_ends = 200.0 + 22_000.0 + 2.0 * (2_368.0 + 200.0 + 48.0);
        assert_eq!((check.parts_bytes, check.pages_bytes), (both_ends, 36_300.0));
    }

    #[test]
    fn knows_less_without_the_privilege() {
        let (before, after) = snapshots();
        let (parts, _) = parts(&Snapshot { slabs: None, ..before }, &after, 100);
        assert_eq!(rows(&parts, Share::Half), [("slab caches", None, 10_000.0)]);
    }
}
