//! `--hugepages`: a process asks for them in its own mapping of the arena, and says what came of it.

use std::path::Path;

use shm::Arena;
use tracing::{info, warn};

use crate::settings::{HugePages, Settings};

/// What the system grants to shared memory that is not in a file.
const POLICY: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// Asks for what the settings want, in a process that has mapped the arena of another.
pub(super) fn ask(arena: &Arena, settings: &Settings) {
    if settings.huge_pages == HugePages::Transparent {
        // The report says that there are none.
        let _ = arena.mapping().advise_huge_pages();
    }
}

/// Logs what the system has granted, if it was asked.
pub(super) fn report(arena: &Arena, settings: &Settings) {
    if settings.huge_pages == HugePages::No {
        return;
    }
    let granted = arena.huge_page_bytes() >> 20;
    if !arena.mapping().wants_huge_pages() {
        warn!("no huge pages for the arena: this kernel has no transparent ones");
    } else if granted > 0 {
        info!("huge pages for the arena: granted, {granted} MiB so far");
    } else {
        warn!(
            "no huge pages for the arena: the system grants none, ordinary ones serve; {}",
            advice(settings.arena_file.as_deref())
        );
    }
}

/// What would have to be otherwise.
fn advice(file: Option<&Path>) -> String {
    match file {
        Some(path) => format!(
            "{} would have to be on a tmpfs that is mounted with huge=advise",
            path.display()
        ),
        None => {
            let text = std::fs::read_to_string(POLICY).unwrap_or_default();
            format!("{POLICY} would have to be 'advise', it is '{}'", chosen(&text))
        }
    }
}

/// Of the choices that a file of the system lists, the one in brackets.
fn chosen(choices: &str) -> &str {
    let chosen = choices.split(['[', ']']).nth(1);
    chosen.unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn the_choice_stands_in_brackets() {
        assert_eq!(chosen("always within_size advise [never] deny force\n"), "never");
        assert_eq!(chosen(""), "unknown");
    }
}
