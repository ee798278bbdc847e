//! A control group for one server (cgroups(7), version 1 or 2).

use crate::notice::{note, skip};
use crate::wait;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// A control group with one controller, removed on drop. Drop the server in it first.
#[derive(Debug)]
pub struct Group(PathBuf);

impl Group {
    /// Creates a group. `None`, with a notice, without permission or without the controller.
    pub fn new(controller: &str) -> Option<Group> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let version_2 = Path::new("/sys/fs/cgroup");
        let version_1 = version_2.join(controller);
        let root = if version_1.is_dir() { &version_1 } else { version_2 };
        // Version 2 enables a controller for child groups through this file. Version 1 does not have the file.
        let _ = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
        let name = format!("conformance-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
        Group::at(root.join(name), controller)
    }

    /// Creates a child group.
    pub fn within(&self, controller: &str) -> Option<Group> {
        let _ = fs::write(self.path().join("cgroup.subtree_control"), format!("+{controller}"));
        Group::at(self.path().join("inner"), controller)
    }

    fn at(path: PathBuf, controller: &str) -> Option<Group> {
        if let Err(error) = fs::create_dir(&path) {
            return skip(&format!("cannot create a control group: {error}"));
        }
        let group = Group(path);
        let files = fs::read_dir(group.path()).expect("the new group");
        let files = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
        match files.into_iter().any(|file| file.starts_with(controller)) {
            true => Some(group),
            false => skip(&format!("no {controller} controller in control groups here")),
        }
    }

    /// The group's directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a limit to the first of the files `names` that exists: versions 1 and 2 name it differently.
    ///
    /// # Panics
    /// If none exists, or the kernel rejects the value.
    #[track_caller]
    pub fn limit(&self, names: &[&str], value: &str) {
        let file = names.iter().map(|name| self.0.join(name)).find(|file| file.exists());
        fs::write(file.expect("a file for the limit"), value).expect("a limit");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel returns EBUSY until a killed member has exited.
        let remove = || fs::remove_dir(&self.0).map_err(|error| error.to_string());
        if let Err(error) = wait::within(Duration::from_secs(2), remove) {
            note(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}
