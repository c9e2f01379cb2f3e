//! What the data takes of memory, from the blocks out to the process: what `INFO memory`, `MEMORY STATS` and
//! `MEMORY DOCTOR` say of fragmentation.

use shm::View;

/// Bytes, each more than the one before it, as long as the process has touched all of the arena.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    /// In blocks in use.
    pub allocated: u64,
    /// In spans in use.
    pub active: u64,
    /// Of the heap that are backed by memory.
    pub resident: u64,
    /// Of this process that are in memory, the arena's touched pages among them.
    pub process: u64,
}

/// How one of these compares with another.
#[derive(Debug, Clone, Copy)]
pub struct Overhead {
    /// How many times as much it is.
    pub ratio: f64,
    /// By how much it is more.
    pub bytes: i64,
}

impl Overhead {
    fn of(outer: u64, inner: u64) -> Overhead {
        Overhead { ratio: outer as f64 / inner.max(1) as f64, bytes: outer as i64 - inner as i64 }
    }
}

impl Footprint {
    /// That of the moment.
    pub fn measure(view: &View) -> Footprint {
        let stats = view.stats();
        let (allocated, active, resident) = (stats.used, stats.spans, stats.heap);
        Footprint { allocated, active, resident, process: process() }
    }

    /// What blocks that are not in use take in spans: what defragmentation is there for.
    pub fn fragmentation(&self) -> Overhead {
        Overhead::of(self.active, self.allocated)
    }

    /// Memory of the heap in no span in use.
    pub fn spare(&self) -> Overhead {
        Overhead::of(self.resident, self.active)
    }

    /// What the process has besides the heap (less than nothing if it has not touched all of that).
    pub fn besides(&self) -> Overhead {
        Overhead::of(self.process, self.resident)
    }

    /// All of it.
    pub fn whole(&self) -> Overhead {
        Overhead::of(self.process, self.allocated)
    }
}

/// Bytes of this process that are in memory.
fn process() -> u64 {
    const PAGE: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * PAGE
}
