//! Where the binaries under test are, and whether they are current.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `HOTREDIS_BIN` | the hotredis under test; default: `hotredis` in the profile directory the test itself was built into (`target/debug` for plain `cargo test`) |
//! | `HOTREDIS_BUILDS` | directory that holds `a/hotredis` and `b/hotredis`, two builds that differ in `HOTREDIS_BUILD`; default: `target/builds/PROFILE`, PROFILE that of the test itself, filled by `scripts/build-pair.sh [--release]` |
//! | `HOTREDIS_CANDIDATE` | `redis-server` puts Redis itself where hotredis is tested against it, to test the tests |
//! | `REDIS_SERVER` | the reference; default: `redis-server` on the `PATH` |
//!
//! Cargo does not build another package's binary for a test, so an old one could be tested by
//! mistake: defaults that are older than the sources are refused with what to do.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The workspace's root.
pub fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

/// The directory with the binaries of the running test's profile, such as `target/debug`.
///
/// # Panics
/// If the running executable cannot be found.
pub fn profile_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("the running executable has a path");
    let dir = exe.parent().expect("an executable is in a directory");
    // Tests run from `deps`, tools from the profile directory itself.
    match dir.ends_with("deps") {
        true => dir.parent().unwrap_or(dir).to_path_buf(),
        false => dir.to_path_buf(),
    }
}

/// The hotredis under test.
///
/// # Panics
/// If it was not built, or is older than the sources.
pub fn hotredis() -> PathBuf {
    match std::env::var_os("HOTREDIS_BIN") {
        Some(path) => path.into(),
        None => current(profile_dir().join("hotredis"), "cargo build -p hotredis"),
    }
}

/// The reference.
pub fn redis_server() -> PathBuf {
    std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into()).into()
}

/// Whether Redis stands in for hotredis.
pub fn candidate_is_redis() -> bool {
    std::env::var_os("HOTREDIS_CANDIDATE").is_some_and(|v| v == "redis-server")
}

/// Two builds of hotredis that differ in `HOTREDIS_BUILD` (`a` and `b`).
///
/// # Panics
/// If they were not built, or are older than the sources.
pub fn two_builds() -> [PathBuf; 2] {
    try_two_builds().unwrap_or_else(|why| panic!("{why}"))
}

/// As [`two_builds`], for tests that can do without them.
///
/// # Errors
/// If they were not built, or are older than the sources: what to do.
pub fn try_two_builds() -> Result<[PathBuf; 2], String> {
    if let Some(dir) = std::env::var_os("HOTREDIS_BUILDS").map(PathBuf::from) {
        return Ok(["a", "b"].map(|name| dir.join(name).join("hotredis")));
    }
    let profile = profile_dir();
    let dir = profile.with_file_name("builds").join(profile.file_name().unwrap_or_default());
    let build = |name| try_current(dir.join(name).join("hotredis"), "scripts/build-pair.sh");
    Ok([build("a")?, build("b")?])
}

/// `path`, if it is there and no source is newer.
fn current(path: PathBuf, how: &str) -> PathBuf {
    try_current(path, how).unwrap_or_else(|why| panic!("{why}"))
}

fn try_current(path: PathBuf, how: &str) -> Result<PathBuf, String> {
    let built = std::fs::metadata(&path).and_then(|m| m.modified());
    let Ok(built) = built else {
        let path = path.display();
        return Err(format!("{path} is not there: run `{how}` first (`make test` does)"));
    };
    let root = workspace();
    let newest = ["src", "shm", "handoff", "Cargo.toml"]
        .iter()
        .filter_map(|name| newest_source(&root.join(name)))
        .max_by_key(|(time, _)| *time);
    match newest {
        Some((time, source)) if time > built => Err(format!(
            "{} is older than {}: run `{how}` first (`make test` does)",
            path.display(),
            source.display()
        )),
        _ => Ok(path),
    }
}

fn newest_source(path: &Path) -> Option<(SystemTime, PathBuf)> {
    if path.is_dir() {
        // Tests and fuzz targets of a crate are no part of the server.
        let entries = std::fs::read_dir(path).ok()?.filter_map(|entry| entry.ok());
        return entries
            .map(|entry| entry.path())
            .filter(|p| !["tests", "fuzz", "benches"].iter().any(|name| p.ends_with(name)))
            .filter_map(|p| newest_source(&p))
            .max_by_key(|(time, _)| *time);
    }
    let relevant = path.extension().is_some_and(|e| e == "rs" || e == "toml");
    let time = std::fs::metadata(path).and_then(|m| m.modified()).ok()?;
    relevant.then(|| (time, path.to_path_buf()))
}
