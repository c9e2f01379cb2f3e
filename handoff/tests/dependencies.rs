//! The dependency rule: this crate moves descriptors and ownership for whoever uses it, so it
//! must not know the arena or the server.

use std::collections::BTreeSet;

const MANIFEST: &str = include_str!("../Cargo.toml");

/// Names of everything that any dependency table of a manifest names.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            inside = table.ends_with("dependencies");
            if let Some((_, name)) = table.split_once("dependencies.") {
                names.insert(name.to_owned());
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let end = line.find(['.', '=', ' ']).unwrap_or(line.len());
            names.insert(line[..end].trim_matches('"').to_owned());
        }
    }
    names
}

#[test]
fn this_crate_knows_neither_the_arena_nor_the_server() {
    let names = dependencies(MANIFEST);
    assert!(names.contains("nix") && names.contains("proptest"), "the manifest was not read");
    for forbidden in ["shm", "hotredis", "hotredis-tests", "redis-protocol", "mio"] {
        assert!(!names.contains(forbidden), "handoff must not depend on {forbidden}");
    }
}

#[test]
fn the_reader_of_manifests_finds_every_form() {
    let manifest = "[dependencies]\na.workspace = true\nb = \"1\"\n[dev-dependencies.c]\npath = \"x\"\n\
                    [target.'cfg(unix)'.dependencies]\nd = { path = \"y\" }\n[features]\ne = []\n";
    let names: Vec<String> = dependencies(manifest).into_iter().collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
}
