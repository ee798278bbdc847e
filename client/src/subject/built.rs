//! How this program was built: the servers are built in the same way, and put next to it.

use std::path::Path;

/// Whether cargo runs this program, or it is in a directory below a workspace.
pub fn is_in_workspace() -> bool {
    let own = std::env::current_exe().unwrap_or_default();
    std::env::var_os("CARGO").is_some() || own.ancestors().any(has_manifest)
}

fn has_manifest(directory: &Path) -> bool {
    directory.join("Cargo.toml").exists()
}

/// The profile of this program, by the directory where cargo put it.
pub fn profile() -> String {
    match directory().as_str() {
        "debug" => "dev".into(),
        name => name.into(),
    }
}

/// The name of the directory where cargo puts programs of this one's profile. Tests are in `deps` below it.
pub fn directory() -> String {
    let own = std::env::current_exe().unwrap_or_default();
    let names = own.parent().into_iter().flat_map(Path::ancestors).filter_map(Path::file_name);
    let name = names.map(|name| name.to_string_lossy().into_owned()).find(|name| name != "deps");
    name.unwrap_or_else(|| "debug".into())
}
