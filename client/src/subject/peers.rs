//! The peers: echo servers on other crates, in the folder `peers/` of the workspace. Each file in its `src/bin` is one.

use super::built;
use std::fs;
use std::path::{Path, PathBuf};

/// A peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The name of the crate that it uses.
    pub name: String,
    /// The path of its binary, which may not be built yet.
    pub binary: PathBuf,
}

/// The workspace's folder of peers.
///
/// # Errors
/// Where the working directory is outside the workspace.
pub fn folder() -> Result<PathBuf, String> {
    let here = std::env::current_dir().unwrap_or_default();
    let mut folders = here.ancestors().map(|above| above.join("peers"));
    folders
        .find(|folder| sources(folder).is_dir())
        .ok_or_else(|| "there is no folder peers/ here: run this in the workspace".into())
}

/// The peers of these names, in this order; all peers if there is no name.
///
/// # Errors
/// Outside the workspace, or where a name is unknown.
pub fn choose(names: &[String]) -> Result<Vec<Peer>, String> {
    let folder = folder()?;
    let known = known(&folder);
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        return Err(format!("'{name}' is none of the peers: {}", known.join(", ")));
    }
    let built = folder.join("target").join(built::directory());
    let chosen = if names.is_empty() { &known } else { names };
    Ok(chosen.iter().map(|name| Peer { name: name.clone(), binary: built.join(name) }).collect())
}

fn sources(folder: &Path) -> PathBuf {
    folder.join("src/bin")
}

fn known(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(sources(folder)).into_iter().flatten().flatten();
    let name = |file: fs::DirEntry| file.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned);
    let mut names: Vec<_> = files.filter_map(name).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn peers_are_chosen_by_name() {
        let all = choose(&[]).expect("tests run in the workspace");
        assert!(all.len() >= 6 && all.is_sorted_by(|a, b| a.name < b.name), "{all:?}");
        let chosen = choose(&names("fastwebsockets,axum")).expect("both known");
        assert_eq!(chosen.iter().map(|peer| &*peer.name).collect::<Vec<_>>(), ["fastwebsockets", "axum"]);
        assert!(chosen[1].binary.ends_with("axum"), "{chosen:?}");
        let error = choose(&names("axum,nginx")).expect_err("unknown");
        assert!(error.contains("'nginx'") && error.contains("axum, fastwebsockets"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}
