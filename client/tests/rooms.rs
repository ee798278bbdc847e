//! The rooms of the client: which may use which, and no circle between the files of one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each is a subcommand, and uses no other one.
const SUBCOMMANDS: [&str; 6] = ["anatomy", "compare", "find", "million", "race", "run"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All files of a directory and its subdirectories, with their code: no comments, and nothing from the test module on.
fn files(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.file_name().is_some_and(|name| name != "tests.rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            files.push((path, lines.collect::<Vec<_>>().join("\n")));
        }
    }
    files
}

/// The room of a file: the first part of its path below `src`, without `.rs`.
fn room(path: &Path) -> String {
    let path = path.strip_prefix(source()).expect("below src");
    let first = path.iter().next().expect("a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The names that directly follow `prefix`, such as `crate::`, also in braces.
fn names(text: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, after) in text.match_indices(prefix).map(|(at, _)| text.split_at(at + prefix.len())) {
        let list = after.strip_prefix('{').and_then(|list| list.split_once('}'));
        for item in list.map_or(after, |(list, _)| list).split(',') {
            let is_of_name = |letter: char| letter.is_alphanumeric() || letter == '_';
            let item = item.trim_start();
            names.insert(item[..item.find(|letter| !is_of_name(letter)).unwrap_or(item.len())].to_owned());
            if list.is_none() {
                break;
            }
        }
    }
    names
}

#[test]
fn subcommands_use_shared_rooms_and_not_one_another() {
    for (path, text) in files(&source()) {
        let room = room(&path);
        if ["lib", "main", "golden"].contains(&room.as_str()) {
            continue;
        }
        let used = names(&text, "crate::");
        let other = SUBCOMMANDS.iter().find(|name| **name != room && used.contains(**name));
        assert_eq!(other, None, "{}", path.display());
    }
}

/// Removes what uses nothing that is left, again and again: what remains is in a circle, or uses one.
fn circle(mut uses: BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    loop {
        let left: BTreeSet<String> = uses.keys().cloned().collect();
        let before = uses.len();
        uses.retain(|_, used| used.iter().any(|name| left.contains(name)));
        if uses.len() == before {
            return uses.into_keys().collect();
        }
    }
}

#[test]
fn no_files_of_a_room_use_each_other_in_a_circle() {
    let mut rooms: BTreeMap<PathBuf, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (path, text) in files(&source()) {
        let (directory, name) = (path.parent().expect("a directory"), path.file_stem().expect("a name"));
        let name = name.to_string_lossy().into_owned();
        // The file of the room itself names all others.
        if name != "mod" && directory != source() && !directory.ends_with("tests") {
            let mut used = names(&text, "super::");
            used.remove(&name);
            rooms.entry(directory.to_owned()).or_default().insert(name, used);
        }
    }
    assert!(rooms.len() > 10, "{:?}", rooms.keys());
    for (directory, uses) in rooms {
        assert_eq!(circle(uses), Vec::<String>::new(), "{}", directory.display());
    }
    let uses = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, used)| (name.to_string(), BTreeSet::from([used.to_string()]))).collect()
    };
    assert_eq!(circle(uses(&[("a", "b"), ("b", "a"), ("c", "d")])), ["a", "b"]);
    assert_eq!(names("use super::{Fleet, phase::Phase};\nuse super::slots::State;", "super::").len(), 3);
}
