//! Rules of this crate that would be broken if they were only written down.

use std::fs;
use std::path::{Path, PathBuf};

/// The files in which `unsafe` code may stand, each for a reason.
const UNSAFE: [&str; 13] = [
    // Typed access to mapped memory: the one gate to a safe interface.
    "src/arena.rs",
    "src/io.rs",
    // A copy of a file, which nobody who holds to its lock changes.
    "src/mapping.rs",
    // Atomics in mapped memory.
    "src/header.rs",
    "src/grow.rs",
    // Writes to mapped memory: logged, or not reachable yet.
    "src/tx.rs",
    "src/tx/moving.rs",
    "src/freeing.rs",
    "src/undo.rs",
    "src/alloc/heap.rs",
    "src/alloc/region.rs",
    // Which types may stand in mapped memory (`unsafe impl`).
    "src/record.rs",
    "src/off.rs",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file, as its path from the crate's root, and its lines without comments.
fn code() -> Vec<(String, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    assert!(files.len() > 15, "the sources were not found");
    let without_comment = |line: &str| line.split("//").next().unwrap_or("").to_owned();
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            (name, text.lines().map(without_comment).collect())
        })
        .collect()
}

#[test]
fn the_crate_knows_nothing_of_those_above_it() {
    let manifest = include_str!("../Cargo.toml");
    assert!(!manifest.contains("handoff") && !manifest.contains("hotredis"));
    for (file, lines) in code() {
        for (number, line) in lines.iter().enumerate() {
            let line = line.replace("b\"hotredis\"", "").replace("c\"hotredis-arena\"", "");
            for name in ["handoff", "hotredis", "redis_protocol", "mio::", "std::net"] {
                assert!(!line.contains(name), "{file}:{}: the arena knows {name}", number + 1);
            }
        }
    }
}

#[test]
fn unsafe_code_stands_in_the_named_files_only() {
    let is_unsafe = |line: &String| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
    };
    let mut found: Vec<String> = code()
        .into_iter()
        .filter(|(_, lines)| lines.iter().any(is_unsafe))
        .map(|(file, _)| file)
        .collect();
    found.sort();
    let mut named: Vec<String> = UNSAFE.iter().map(|file| file.to_string()).collect();
    named.sort();
    assert_eq!(found, named);
}

#[test]
fn files_stay_short() {
    for (file, lines) in code() {
        assert!(lines.len() <= 600, "{file} has {} lines: one idea per file", lines.len());
    }
}
