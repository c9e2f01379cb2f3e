//! The processes of a server under test.

/// The processes that `pid` started, directly or not.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut all = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        // Each thread lists the children it started itself.
        let threads = std::fs::read_dir(format!("/proc/{parent}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in text.split_whitespace().filter_map(|word| word.parse().ok()) {
                all.push(child);
                parents.push(child);
            }
        }
    }
    all
}

/// Whether a process exists and is no zombie. Its first thread may be one before the last has gone, which holds all that
/// the process held.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| {
        let state = rest.split_whitespace().next();
        let threads = || std::fs::read_dir(format!("/proc/{pid}/task"));
        state.is_some_and(|s| s != "Z" && s != "X" || threads().is_ok_and(|all| all.count() > 1))
    })
}
