//! Has the package built anew when the build's mark changes.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=HOTREDIS_BUILD");
}
