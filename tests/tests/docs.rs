//! Keeps the documents honest, where that is cheap: what they list is what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENTS: [&str; 10] = [
    "README.md",
    "ARCHITECTURE.md",
    "docs/README.md",
    "docs/arena-format.md",
    "docs/differences.md",
    "docs/handoff.md",
    "docs/operations.md",
    "docs/performance.md",
    "docs/recovery.md",
    "docs/values.md",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("cannot read {path}: {e}"))
}

/// Everything between backquotes, outside of blocks of code.
fn quoted(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

#[test]
fn the_readme_names_every_target_of_make() {
    let makefile = read("Makefile");
    let readme = read("README.md");
    let targets: Vec<&str> = makefile
        .lines()
        .filter(|line| line.contains("## "))
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .collect();
    assert!(targets.len() > 8, "the targets were not found: {targets:?}");
    for target in targets.iter().filter(|target| **target != "help") {
        assert!(readme.contains(&format!("`make {target}`")), "README.md misses make {target}");
    }
    for command in quoted(&readme).iter().filter_map(|words| words.strip_prefix("make ")) {
        let target = command.split(' ').next().unwrap_or_default();
        assert!(targets.contains(&target), "README.md names make {target}, which there is not");
    }
}

/// The names of the modules of a folder of sources.
fn modules(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().path());
    names
        .filter(|path| path.is_dir() || path.extension().is_some_and(|it| it == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| {
            !matches!(name.as_str(), "lib" | "main" | "mod") && !name.ends_with("_tests")
        })
        .collect()
}

#[test]
fn the_architecture_names_every_module() {
    let named: BTreeSet<String> = quoted(&read("ARCHITECTURE.md"))
        .into_iter()
        .map(|name| name.trim_end_matches('/').to_owned())
        .collect();
    for folder in ["src", "shm/src", "handoff/src"] {
        let there = modules(folder);
        assert!(there.len() > 8, "the modules of {folder} were not found");
        // What is private to a crate need not be known from outside.
        let hidden = ["phase", "reason"];
        for module in there.iter().filter(|module| !hidden.contains(&module.as_str())) {
            assert!(named.contains(module), "ARCHITECTURE.md misses the module {folder}/{module}");
        }
    }
}

#[test]
fn every_path_that_the_documents_name_is_there() {
    let folders = [
        "src/",
        "shm/",
        "handoff/",
        "tests/",
        "docs/",
        "scripts/",
        "fuzz/",
        "benches/",
        "packaging/",
    ];
    for document in DOCUMENTS {
        let names = quoted(&read(document));
        let paths = names.iter().filter(|name| folders.iter().any(|it| name.starts_with(it)));
        for path in paths.filter(|path| !path.contains(['*', ' ', '{'])) {
            // `src/` of a crate, in the document on that crate.
            let within = root().join("handoff").join(path);
            assert!(root().join(path).exists() || within.exists(), "{document} names {path}");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        let folder = root().join(document).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
            let file = target.0.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") {
                assert!(folder.join(file).exists(), "{document} has a link to {file}");
            }
        }
    }
}

#[test]
fn the_differences_list_the_directives_without_effect() {
    use hotredis::config::directives;
    let text = read("docs/differences.md");
    let (_, list) = text.split_once("### Without any effect").expect("the section is there");
    let (list, _) = list.split_once("\n## ").expect("a section follows");
    let listed: BTreeSet<String> = quoted(list)
        .into_iter()
        .filter(|name| directives::find(name.as_bytes()).is_some())
        .collect();
    let inert: BTreeSet<String> =
        directives::all().iter().filter(|it| it.inert).map(|it| it.name.to_owned()).collect();
    assert!(inert.len() > 50, "the table of directives was not found");
    let missing: Vec<_> = inert.difference(&listed).collect();
    let wrong: Vec<_> = listed.difference(&inert).collect();
    assert!(
        missing.is_empty() && wrong.is_empty(),
        "docs/differences.md: without effect but not listed: {missing:?}; listed but read: {wrong:?}"
    );
}

/// Sizes of what records consist of, in bytes.
fn bytes_of(ty: &str, known: &BTreeMap<String, usize>) -> usize {
    for wrapper in ["Slot<", "Hint<"] {
        if let Some(inner) = ty.strip_prefix(wrapper) {
            return bytes_of(inner.strip_suffix('>').unwrap(), known);
        }
    }
    if let Some((element, count)) =
        ty.strip_prefix('[').and_then(|it| it.strip_suffix(']')).and_then(|it| it.split_once("; "))
    {
        return bytes_of(element, known) * count.parse::<usize>().unwrap();
    }
    match ty.rsplit("::").next().unwrap() {
        _ if ty.starts_with("Off<") => 8,
        "U64" | "I64" => 8,
        "U32" => 4,
        "u8" => 1,
        "Table" => 24,
        "Tree" => 16,
        "Blob" => 20,
        name => *known.get(name).unwrap_or_else(|| panic!("a record has a field of type {ty}")),
    }
}

/// The records that a source file declares: name, and name and type of each field.
fn records(source: &str) -> Vec<(String, Vec<(String, String)>)> {
    let bodies = source.split("record! {\n").skip(1).filter_map(|rest| rest.split_once("\n}\n"));
    bodies
        .map(|(body, _)| {
            let lines = body.lines().map(str::trim).filter(|line| line.starts_with("pub "));
            let mut name = String::new();
            let mut fields = Vec::new();
            for line in lines {
                match line.strip_prefix("pub struct ") {
                    Some(rest) => name = rest.trim_end_matches(" {").to_owned(),
                    None => {
                        let field = line.strip_prefix("pub ").unwrap().trim_end_matches(',');
                        let (name, ty) = field.split_once(": ").expect("a field has a type");
                        fields.push((name.to_owned(), ty.to_owned()));
                    }
                }
            }
            (name, fields)
        })
        .collect()
}

#[test]
fn the_format_lists_every_record_of_the_server_byte_by_byte() {
    // Those that others contain come first.
    let files = [
        "src/session/directory.rs",
        "src/keyspace/mod.rs",
        "src/keyspace/entry.rs",
        "src/keyspace/trash.rs",
        "src/session/output.rs",
        "src/session/members.rs",
        "src/session/waits.rs",
        "src/session/queue.rs",
        "src/session/tracking.rs",
        "src/session/mod.rs",
        "src/statistics.rs",
        "src/root.rs",
        "src/values/hash/mod.rs",
        "src/values/set/table.rs",
        "src/values/zset/mod.rs",
        "src/values/stream/id.rs",
        "src/values/stream/node.rs",
        "src/values/stream/mod.rs",
        "src/values/stream/group.rs",
    ];
    let document = read("docs/arena-format.md");
    let mut known = BTreeMap::new();
    let mut found = 0;
    for file in files {
        let mut declared = records(&read(file));
        declared.reverse();
        for (name, fields) in declared {
            let (mut at, mut rows) = (0, Vec::new());
            for (field, ty) in &fields {
                let size = bytes_of(ty, &known);
                rows.push(format!("| {at} | {size} | `{field}` |"));
                at += size;
            }
            known.insert(name.clone(), at);
            found += 1;
            let heading = format!("`{name}`, {at} bytes:");
            let expected = rows.join("\n");
            let advice = format!("docs/arena-format.md wants:\n{heading}\n{expected}");
            let (_, section) = document.split_once(&heading).unwrap_or_else(|| panic!("{advice}"));
            let table: Vec<&str> = section.trim_start().lines().take(rows.len() + 2).collect();
            for (row, line) in rows.iter().zip(&table[2..]) {
                assert!(line.starts_with(row.as_str()), "{advice}\nbut has: {line}");
            }
        }
    }
    assert_eq!(known["Root"], size_of::<hotredis::root::Root>());
    assert_eq!(known["Session"], size_of::<hotredis::session::Session>());
    let stored: usize = declarations().iter().map(|(_, count)| count).sum();
    assert_eq!(
        found,
        stored,
        "records of src/ in a file that this test does not know: {:?}",
        declarations()
    );
}

/// How many records each file of the server declares.
fn declarations() -> Vec<(PathBuf, usize)> {
    let mut folders = vec![root().join("src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let count = records(&fs::read_to_string(&path).unwrap()).len();
                if count > 0 {
                    found.push((path, count));
                }
            }
        }
    }
    found
}
