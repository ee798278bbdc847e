//! Result files, replaced atomically: at any moment there is the old file or the complete new one.

use crate::words;
use anyhow::{Context, Result};
use common::output;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Symbolic links that are followed in a row (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// Where a result is written.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A file that is replaced or created.
    File(PathBuf),
    /// A device, a pipe, or a descriptor of this process: written to in place.
    Stream(PathBuf),
}

/// Whether a flag's FILE is standard output: `-`, or by one of its names.
pub fn is_stdout(file: &Path) -> bool {
    let names = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
    if names.iter().any(|name| file == Path::new(name)) {
        return true;
    }
    // A shell may have redirected standard output to this file: replacing it would lose what is printed.
    let stdout = io::stdout().as_fd().try_clone_to_owned().and_then(|stdout| File::from(stdout).metadata());
    let (Ok(file), Ok(stdout)) = (fs::metadata(file), stdout) else { return false };
    file.is_file() && (file.dev(), file.ino()) == (stdout.dev(), stdout.ino())
}

/// Whether two flags name the same file, so that one result would overwrite the other.
pub fn are_one(one: &Path, other: &Path) -> bool {
    match (is_stdout(one), is_stdout(other)) {
        (true, true) => true,
        (false, false) => match (place(one), place(other)) {
            (Ok(Place::File(one)), Ok(Place::File(other))) => identity(&one) == identity(&other),
            _ => false,
        },
        _ => false,
    }
}

/// What identifies a file: its device and inode if it exists, else those of its directory and its name.
fn identity(file: &Path) -> Option<(u64, u64, Option<PathBuf>)> {
    let number = |path: &Path| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let there = number(file).map(|(dev, ino)| (dev, ino, None));
    let name = || file.file_name().map(PathBuf::from);
    there.or_else(|| number(directory(file)).map(|(dev, ino)| (dev, ino, name())))
}

/// Fails where a result could not be written, before a long run. Changes nothing.
///
/// # Errors
/// The file and the reason, in one line.
pub fn check(file: &Path) -> Result<()> {
    let checked = match place(file) {
        _ if is_stdout(file) => Ok(()),
        Ok(Place::Stream(stream)) => access(&stream, Access::WRITE_OK).map_err(io::Error::from),
        Ok(Place::File(file)) => match (file.exists(), temporary(&file)) {
            (is_there, Ok((_, temporary))) => {
                let _ = fs::remove_file(temporary);
                if is_there { access(&file, Access::WRITE_OK).map_err(io::Error::from) } else { Ok(()) }
            }
            // The file can be written in place.
            (true, Err(_)) => access(&file, Access::WRITE_OK).map_err(io::Error::from),
            (false, Err(error)) => Err(error),
        },
        Err(error) => Err(error),
    };
    checked.with_context(|| format!("cannot write {}", file.display()))
}

/// Fails where a report could not be written to a directory, which is created if it does not exist.
///
/// # Errors
/// The directory and the reason, in one line.
pub fn check_directory(directory: &Path) -> Result<()> {
    let probe = fs::create_dir_all(directory).and_then(|()| temporary(&directory.join("report")));
    let (_, probe) =
        probe.with_context(|| format!("cannot write to the directory {}", directory.display()))?;
    let _ = fs::remove_file(probe);
    Ok(())
}

/// Writes a result: to a temporary file that then replaces the old one, or in place where it is not a regular file.
///
/// # Errors
/// The file and the reason, in one line. A closed pipe (`EPIPE`) is no error.
pub fn write(file: &Path, text: &str) -> Result<()> {
    let written = match place(file) {
        _ if is_stdout(file) => output::print_data(text),
        Ok(Place::Stream(stream)) => {
            OpenOptions::new().append(true).open(stream).and_then(|mut to| to.write_all(text.as_bytes()))
        }
        Ok(Place::File(file)) => replace(&file, text),
        Err(error) => Err(error),
    };
    let written =
        written.or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) });
    let name = if is_stdout(file) { "to standard output".into() } else { file.display().to_string() };
    written.with_context(|| format!("cannot write {name}"))
}

/// Writes results, files before standard output, and then prints the summary, to standard error where standard output has
/// a result. `summary` takes whether it will be on standard output. False: a result could not be written, and an error was
/// printed.
pub fn deliver(program: &str, results: &[(&Path, String)], summary: impl FnOnce(bool) -> String) -> bool {
    let (printed, files): (Vec<_>, Vec<_>) = results.iter().partition(|(file, _)| is_stdout(file));
    let all = files.iter().chain(&printed).map(|(file, text)| write(file, text));
    let lost: Vec<_> = all.filter_map(Result::err).collect();
    match printed.is_empty() {
        true => words::print(&summary(true)),
        false => words::print_aside(&summary(false)),
    }
    lost.iter().for_each(|error| words::complain(program, &format!("{error:#}")));
    lost.is_empty()
}

fn replace(file: &Path, text: &str) -> io::Result<()> {
    let old = fs::metadata(file).ok();
    let (mut new, temporary) = match temporary(file) {
        Ok(new) => new,
        // The file may be writable where the directory is not.
        Err(_) if old.is_some() => return fs::write(file, text),
        Err(error) => return Err(error),
    };
    let written = old.as_ref().map_or(Ok(()), |old| {
        // Only root can change the owner.
        let _ = fchown(&new, Some(old.uid()), Some(old.gid()));
        new.set_permissions(old.permissions())
    });
    let written = written.and_then(|()| new.write_all(text.as_bytes())).and_then(|()| new.sync_all());
    let replaced = written.and_then(|()| fs::rename(&temporary, file));
    if replaced.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    match replaced {
        // A bind mount, as into a container, cannot be replaced.
        Err(error) if error.kind() == ErrorKind::ResourceBusy && old.is_some() => fs::write(file, text),
        replaced => replaced,
    }
}

/// Creates a temporary file in the same directory as another.
fn temporary(other: &Path) -> io::Result<(File, PathBuf)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!(".client-{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Relaxed));
    let path = directory(other).join(name);
    Ok((OpenOptions::new().write(true).create_new(true).open(&path)?, path))
}

fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Follows symbolic links to the file to be written.
fn place(file: &Path) -> io::Result<Place> {
    // An empty name, or one that ends with a slash, does not name a file.
    let is_name = file.file_name().is_some() && !file.as_os_str().as_encoded_bytes().ends_with(b"/");
    if !is_name && !file.exists() {
        return Err(Errno::NOENT.into());
    }
    let mut path = file.to_owned();
    for _ in 0..MOST_LINKS {
        let kind = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Place::File(path)),
            Err(error) => return Err(error),
        };
        if kind.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        if !kind.is_symlink() {
            return Ok(if kind.is_file() { Place::File(path) } else { Place::Stream(path) });
        }
        // /dev/fd/3, for example: an open descriptor is written to in place, even if it is a regular file.
        if fs::canonicalize(directory(&path))?.starts_with("/proc") {
            return Ok(Place::Stream(path));
        }
        path = directory(&path).join(fs::read_link(&path)?);
    }
    Err(Errno::LOOP.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A directory of this test's own.
    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("client-file-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        directory
    }

    fn names(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).expect("it is there").flatten();
        let mut names: Vec<_> = names.map(|entry| entry.file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_through_links() {
        let at = scratch("replace");
        let (file, link) = (at.join("x.json"), at.join("link"));
        fs::write(&file, "old").expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("set");
        symlink("x.json", &link).expect("a link");
        let mut before = File::open(&file).expect("it is there");
        check(&link).expect("can be written");
        assert_eq!(fs::read_to_string(&file).expect("text"), "old", "a check touches nothing");
        write(&link, "new").expect("written");
        let mut read = String::new();
        io::Read::read_to_string(&mut before, &mut read).expect("text");
        assert_eq!((read.as_str(), fs::read_to_string(&file).expect("text").as_str()), ("old", "new"));
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o640);
        symlink("y.json", at.join("dangling")).expect("a link");
        write(&at.join("dangling"), "new").expect("written");
        assert_eq!(names(&at), ["dangling", "link", "x.json", "y.json"], "and no temporary file is left");
        fs::remove_dir_all(at).expect("removed");
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let at = scratch("refused");
        symlink("loop", at.join("loop")).expect("a link");
        for (file, why) in [
            (at.clone(), "directory"),
            (at.join("nowhere/x"), "No such file"),
            (at.join("loop"), "cannot write"),
            (at.join("new/"), "No such file"),
            ("".into(), "No such file"),
            ("/proc/version/x".into(), "Not a directory"),
        ] {
            let error = format!("{:#}", check(&file).expect_err("it cannot be written"));
            assert!(error.contains(&format!("cannot write {}", file.display())), "{error}");
            assert!(error.to_lowercase().contains(&why.to_lowercase()), "{error}");
        }
        assert!(check(Path::new("/dev/full")).is_ok() && write(Path::new("/dev/null"), "lost").is_ok());
        let error = format!("{:#}", write(Path::new("/dev/full"), "lost").expect_err("no space"));
        assert!(error.starts_with("cannot write /dev/full: No space left"), "{error}");
        fs::remove_dir_all(at).expect("removed");
    }

    #[test]
    fn what_is_open_is_written_to_and_not_replaced() {
        let at = scratch("open");
        let mut open = File::create(at.join("x")).expect("a file");
        open.write_all(b"first\n").expect("written");
        let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open));
        write(Path::new(&name), "second\n").expect("written");
        assert_eq!(fs::read_to_string(at.join("x")).expect("text"), "first\nsecond\n");
        fs::remove_dir_all(at).expect("removed");
    }

    #[test]
    fn one_file_has_many_names() {
        let at = scratch("names");
        let (x, y) = (at.join("x"), at.join("y"));
        symlink("x", at.join("link")).expect("a link");
        for there in [false, true] {
            assert!(
                are_one(&x, &x) && are_one(&x, &at.join("./x")) && are_one(&x, &at.join("link")),
                "{there}"
            );
            assert!(!are_one(&x, &y) && !are_one(&x, Path::new("-")), "{there}");
            fs::write(&x, "").expect("written");
        }
        assert!(are_one(Path::new("-"), Path::new("/dev/stdout")));
        assert!(!are_one(Path::new("/dev/null"), Path::new("/dev/null")));
        fs::remove_dir_all(at).expect("removed");
    }
}
