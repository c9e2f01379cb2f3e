//! A server that is upgraded from one of the two builds to the other.

use crate::binaries;
use crate::server::{Server, Setup};

impl Setup {
    /// A server of the first of the two builds.
    pub fn first_build() -> Self {
        Self::of_binary(&binaries::two_builds()[0])
    }
}

impl Server {
    /// Upgrades to one of the two builds: the second if the number is odd.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn upgrade_to(&self, number: usize) {
        let outcome = self.upgrade(&binaries::two_builds()[number % 2]);
        assert!(outcome.success, "{}\n{}", outcome.output, self.log());
    }
}
