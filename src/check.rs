//! The checker: proves an arena right, of a live server or in a file.

use std::panic;
use std::path::Path;

use anyhow::{Context, bail};
use shm::check::Checker;
use shm::{Arena, View};

use crate::root::Root;
use crate::util::panics::text_of;
use crate::{keyspace, session, statistics};

/// What the checker found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileReport {
    /// Whether nothing is wrong.
    pub clean: bool,
    /// Counts and findings for people.
    pub text: String,
}

/// Walks an arena whose owner stands between two commands.
pub fn check_arena(view: &View) -> FileReport {
    let root = crate::root::of(view);
    let mut checker = Checker::new(view);
    if root.is_null() {
        checker.finding("there is no root record".into());
        return report(checker);
    }
    if !checker.mark(root, size_of::<Root>() as u64, "root") {
        return report(checker);
    }
    let record = view.read(root);
    let count = record.database_count.to_native();
    let size = u64::from(count) * size_of::<keyspace::Database>() as u64;
    if checker.mark(record.databases, size, "databases") {
        for index in 0..count {
            let database = crate::root::database(view, root, index);
            keyspace::check::mark_database(&mut checker, database, &format!("db{index}"));
        }
    }
    if !record.config.get().is_null() {
        let length = u64::from(record.config_len.get().to_native());
        checker.mark(record.config.get(), length, "configuration");
    }
    statistics::mark(&mut checker, root);
    keyspace::check::mark_trash(&mut checker, root);
    let sessions = session::check::mark_sessions(&mut checker, root);
    session::check::mark_indexes(&mut checker, root, &sessions);
    report(checker)
}

/// Walks an arena that may be damaged in any way: what stops the walk is one more finding. For a process that
/// has no other thread yet.
pub fn check_damaged(view: &View) -> FileReport {
    let hook = panic::take_hook();
    // What it says is told with the findings.
    panic::set_hook(Box::new(|_| {}));
    let walked = panic::catch_unwind(panic::AssertUnwindSafe(|| check_arena(view)));
    panic::set_hook(hook);
    walked.unwrap_or_else(|why| {
        let text = text_of(&*why).unwrap_or("it makes no sense");
        FileReport { clean: false, text: format!("the walk cannot go on: {text}\n") }
    })
}

/// What is wrong with the first thing that a server reads of an arena, if anything is.
pub fn check_root(view: &View) -> Option<String> {
    let root = crate::root::of(view);
    let mut checker = Checker::new(view);
    if checker.mark(root, size_of::<Root>() as u64, "root") {
        let record = view.read(root);
        let count = u64::from(record.database_count.to_native());
        let size = count * size_of::<keyspace::Database>() as u64;
        checker.mark(record.databases, size, "databases");
    }
    checker.first()
}

fn report(checker: Checker<'_>) -> FileReport {
    let found = checker.finish();
    let mut text = format!("{} blocks reached, {} findings\n", found.blocks, found.total);
    for finding in &found.findings {
        text.push_str(finding);
        text.push('\n');
    }
    FileReport { clean: found.is_clean(), text }
}

/// Runs the checker on an arena file that no server is using.
///
/// # Errors
/// If the checker cannot run: no such file, no arena, another fingerprint, in use by a server.
pub fn check_arena_file(path: &Path) -> anyhow::Result<FileReport> {
    if !path.is_file() {
        bail!("there is no file {}", path.display());
    }
    let arena = Arena::open_file(path, crate::generation::FINGERPRINT)
        .with_context(|| format!("cannot check {}", path.display()))?;
    if arena.root().is_null() {
        bail!("{} holds an arena that no server has used yet", path.display());
    }
    Ok(check_damaged(&arena))
}
