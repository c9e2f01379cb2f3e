//! What this build is called.

use std::sync::OnceLock;

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

static BUILD: OnceLock<&'static str> = OnceLock::new();

/// Says what mark `HOTREDIS_BUILD` gave this build at build time. The program does so at its start:
/// a library that read it would have to be compiled anew for every mark.
pub fn set_build(build: &'static str) {
    // Set once; whoever comes later has nothing else to say.
    let _ = BUILD.set(build);
}

/// The mark of this build; empty if it has none.
pub fn build() -> &'static str {
    BUILD.get().copied().unwrap_or_default()
}

/// What a build says of itself that can survive no crash; empty for every build but one that is made to
/// measure what crash safety costs.
pub const WARNING: &str = if shm::CRASH_SAFE {
    ""
} else {
    "built WITHOUT CRASH SAFETY, for measurement only: a crash loses all data and connections, and a command \
     that fails is not undone"
};

/// Version and mark as people read them: `0.1.0` or `0.1.0 (build blue)`.
pub fn describe(version: &str, build: &str) -> String {
    if build.is_empty() { version.to_string() } else { format!("{version} (build {build})") }
}
