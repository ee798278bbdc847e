//! A control group for one server (cgroups(7)), version 1 or 2, where one can be made.

use crate::inject::skip;
use crate::wait;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// A group with one controller. A server is in it from its start, and must be dropped before it.
#[derive(Debug)]
pub struct Group(PathBuf);

impl Group {
    /// Makes one. `None`, and a line on stderr, where that is not allowed.
    pub fn new(controller: &str) -> Option<Group> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let version_2 = Path::new("/sys/fs/cgroup");
        let version_1 = version_2.join(controller);
        let root = if version_1.is_dir() { &version_1 } else { version_2 };
        // Version 2 hands a controller down on request; version 1 has no such file, and no need of it.
        let _ = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
        let name = format!("conformance-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
        Group::at(root.join(name), controller)
    }

    /// Makes one within this one.
    pub fn within(&self, controller: &str) -> Option<Group> {
        let _ = fs::write(self.path().join("cgroup.subtree_control"), format!("+{controller}"));
        Group::at(self.path().join("inner"), controller)
    }

    fn at(path: PathBuf, controller: &str) -> Option<Group> {
        if let Err(error) = fs::create_dir(&path) {
            return skip(&format!("cannot make a control group: {error}"));
        }
        let group = Group(path);
        let files = fs::read_dir(group.path()).expect("a group that was just made");
        let files = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
        match files.into_iter().any(|file| file.starts_with(controller)) {
            true => Some(group),
            false => skip(&format!("a control group has no limits on {controller} here")),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Sets a limit, whose file has one of these names.
    ///
    /// # Panics
    /// If it has none of them, or does not take the value.
    #[track_caller]
    pub fn limit(&self, names: &[&str], value: &str) {
        let file = names.iter().map(|name| self.0.join(name)).find(|file| file.exists());
        fs::write(file.expect("a file for the limit"), value).expect("a limit");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A member that has just been killed may still be on its way out.
        let gone = || fs::remove_dir(&self.0).map_err(|error| error.to_string());
        if let Err(error) = wait::within(Duration::from_secs(2), gone) {
            skip::<()>(&format!("{} is left behind: {error}", self.0.display()));
        }
    }
}
