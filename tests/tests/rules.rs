//! Rules of the server's sources that would be broken if they were only written down: what may
//! depend on what, where `unsafe` may stand, and how long files and functions may be. `shm` and
//! `handoff` have tests of their own kind beside them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files of `src/` in which `unsafe` code may stand, each for a reason.
const UNSAFE: [&str; 10] = [
    // Adopting descriptors that the process was started with.
    "src/inherited.rs",
    // Arguments of the command that runs are read where they stand in the arena: a request in a
    // session's own block, and a queued command.
    "src/executor/turn.rs",
    "src/commands/transactions.rs",
    "src/session/queue.rs",
    // The same for the command of a blocked client, and the key that it waits for.
    "src/executor/blocking.rs",
    "src/session/waits.rs",
    // A store that is to fail.
    "src/commands/debug/crash.rs",
    // Between fork and exec.
    "src/keeper/process.rs",
    "src/keeper/signals.rs",
    // Pages of the program, named by their addresses.
    "src/generation/prefault.rs",
];

/// What a part of the sources must not mention, and the words by which it would.
const FORBIDDEN: &[(&str, &[&str])] = &[
    // A command's code touches no socket, nor does what it works with.
    ("src/commands", SOCKETS),
    ("src/values", SOCKETS),
    ("src/keyspace", SOCKETS),
    ("src/session", SOCKETS),
    ("src/executor", SOCKETS),
    ("src/check.rs", SOCKETS),
    ("src/root.rs", SOCKETS),
    // A socket's code knows no command and no key.
    ("src/net", &["crate::commands", "crate::keyspace", "crate::values", "crate::session"]),
    // Values and keys know neither commands nor the wire.
    ("src/values", &["crate::commands", "crate::proto", "crate::session", "crate::executor"]),
    ("src/keyspace", &["crate::commands", "crate::proto", "crate::executor"]),
    // The wire's code is pure.
    (
        "src/proto",
        &["shm::", "handoff::", "crate::session", "crate::executor", "crate::net", "mio"],
    ),
    // What is serialised is bytes, and so are texts and numbers; of the arena's crate, only the functions
    // over bytes are used.
    ("src/rdb", ARENA),
    ("src/util", ARENA),
    ("src/rdb", &["crate::keyspace", "crate::values"]),
    ("src/rdb", &["crate::commands", "crate::session", "crate::executor", "crate::net", "mio"]),
    ("src/util", &["handoff::", "mio", "crate::session", "crate::executor", "crate::net"]),
    (
        "src/config",
        &["shm::", "handoff::", "mio", "crate::session", "crate::executor", "crate::net"],
    ),
    // The keeper outlives what could go wrong: no arena, no clients.
    ("src/keeper", &["shm::", "mio", "crate::net", "crate::executor", "crate::commands"]),
    ("src/keeper", &["crate::session", "crate::keyspace", "crate::root", "crate::generation"]),
    // What joins everything runs commands through the executor only.
    ("src/generation", &["crate::commands"]),
];

const ARENA: &[&str] = &["shm::{Tx", "shm::{Off", "shm::Tx", "shm::View", "shm::Off", "shm::Arena"];

const SOCKETS: &[&str] = &[
    "crate::net",
    "mio",
    "handoff::",
    "nix::sys::socket",
    "nix::poll",
    "socket2",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixListener",
];

/// The longest file, in lines that are not tests.
const FILE_LINES: usize = 620;

/// The longest function, in lines.
const FUNCTION_LINES: usize = 70;

/// Functions that may be longer, because they are lists: of fields, of types.
const LONG: &[(&str, &str)] =
    &[("src/commands/info/sections.rs", "stats"), ("tests/lib/value.rs", "value")];

struct Source {
    /// Path from the root of the repository.
    name: String,
    /// Lines without comments, down to the tests within the file.
    lines: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn is_test(name: &str) -> bool {
    name.ends_with("_tests.rs") || name.ends_with("/tests.rs") || name.ends_with("/testing.rs")
}

/// The sources of a folder, without tests.
fn sources(folder: &str) -> Vec<Source> {
    let mut files = Vec::new();
    find(&root().join(folder), &mut files);
    files.sort();
    let sources = files.iter().map(|path| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(path).unwrap();
        let lines = text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .map(|line| line.split("//").next().unwrap_or_default().to_owned())
            .collect();
        Source { name, lines }
    });
    sources.filter(|source| !is_test(&source.name)).collect()
}

/// Whether a line has these words, and not just as a part of longer ones.
fn mentions(line: &str, words: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(words).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + words.len()..].chars().next();
        let open = words.ends_with(':');
        !before.is_some_and(is_word) && (open || !after.is_some_and(is_word))
    })
}

#[test]
fn words_are_found_as_words() {
    assert!(mentions("use mio::Poll;", "mio"));
    assert!(mentions("x(crate::net::Poller)", "crate::net"));
    assert!(mentions("use shm::Off;", "shm::"));
    assert!(!mentions("let miop = 1;", "mio"));
    assert!(!mentions("use crate::network;", "crate::net"));
}

#[test]
fn nobody_mentions_what_he_must_not_know() {
    let sources = sources("src");
    assert!(sources.len() > 60, "the sources were not found");
    for (part, words) in FORBIDDEN {
        let of_part = sources.iter().filter(|source| {
            source.name == *part
                || source.name == format!("{part}.rs")
                || source.name.starts_with(&format!("{part}/"))
        });
        let mut files = 0;
        for source in of_part {
            files += 1;
            for (number, line) in source.lines.iter().enumerate() {
                let word = words.iter().find(|word| mentions(line, word));
                assert!(
                    word.is_none(),
                    "{}:{}: {part} must not know {word:?}",
                    source.name,
                    number + 1
                );
            }
        }
        assert!(files > 0, "there is no {part}");
    }
}

#[test]
fn unsafe_code_stands_in_the_named_files_only() {
    let found: BTreeSet<String> = sources("src")
        .into_iter()
        .filter(|source| source.lines.iter().any(|line| mentions(line, "unsafe")))
        .map(|source| source.name)
        .collect();
    assert_eq!(found, UNSAFE.map(String::from).into_iter().collect());
}

#[test]
fn files_stay_short() {
    for folder in ["src", "handoff/src", "tests/lib"] {
        for source in sources(folder) {
            let lines = source.lines.len();
            assert!(lines <= FILE_LINES, "{} has {lines} lines: one idea per file", source.name);
        }
    }
}

/// The functions of a source with their lengths, by the indentation that rustfmt gives.
fn functions(source: &Source) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (start, line) in source.lines.iter().enumerate() {
        let text = line.trim_start();
        let indentation = &line[..line.len() - text.len()];
        let is_function = text.starts_with("fn ")
            || (text.contains(" fn ") && (text.starts_with("pub") || text.starts_with("const fn")));
        if !is_function || text.trim_end().ends_with([';', '}']) {
            continue;
        }
        let end = format!("{indentation}}}");
        let length = source.lines[start..].iter().position(|line| line.trim_end() == end);
        let name = text.split("fn ").nth(1).unwrap_or_default();
        let name = name.split(['(', '<']).next().unwrap_or_default();
        found.push((name.to_owned(), length.map_or(0, |lines| lines + 1)));
    }
    found
}

#[test]
fn functions_stay_short() {
    let mut seen = 0;
    let mut used = BTreeSet::new();
    for source in ["src", "shm/src", "handoff/src", "tests/lib"].into_iter().flat_map(sources) {
        for (name, lines) in functions(&source) {
            seen += 1;
            if lines <= FUNCTION_LINES {
                continue;
            }
            let allowed = LONG.iter().position(|it| *it == (source.name.as_str(), name.as_str()));
            let Some(allowed) = allowed else {
                panic!("{}: {name} has {lines} lines: split it", source.name);
            };
            used.insert(allowed);
        }
    }
    assert!(seen > 1000, "only {seen} functions were found");
    assert_eq!(used.len(), LONG.len(), "LONG names functions that are short, or gone");
}
