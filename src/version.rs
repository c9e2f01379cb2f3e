//! What this build is called.

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The mark that `HOTREDIS_BUILD` gave this build at build time; empty if it was not set.
pub const BUILD: &str = match option_env!("HOTREDIS_BUILD") {
    Some(build) => build,
    None => "",
};

/// Version and mark as people read them: `0.1.0` or `0.1.0 (build blue)`.
pub fn describe(version: &str, build: &str) -> String {
    if build.is_empty() { version.to_string() } else { format!("{version} (build {build})") }
}
