//! The descriptor budget: `RLIMIT_NOFILE` and what of it is in use.

use std::fs;
use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::DescriptorLimitError;

/// Descriptors kept free beyond what a handoff brings: poll, log, link, control socket, and the
/// connections accepted before the first limit check of the server.
pub const DESCRIPTOR_RESERVE: u64 = 64;

/// The soft limit on descriptors of this process.
///
/// # Errors
/// What `getrlimit(2)` says.
pub fn descriptor_limit() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// How many descriptors this process has open.
///
/// # Errors
/// If `/proc/self/fd` cannot be read.
pub fn open_descriptors() -> io::Result<u64> {
    // One of the entries is the directory being read.
    Ok((fs::read_dir("/proc/self/fd")?.count() as u64).saturating_sub(1))
}

/// Makes sure that `needed` descriptors can be open at once, raising the soft limit up to the hard
/// one if it is lower. Returns the limit in force.
///
/// # Errors
/// [`DescriptorLimitError`] if the hard limit does not suffice; nothing is changed then.
pub fn ensure_descriptor_limit(needed: u64) -> Result<u64, DescriptorLimitError> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(io::Error::from)?;
    if soft >= needed {
        return Ok(soft);
    }
    if hard < needed {
        return Err(DescriptorLimitError::TooLow { needed, hard });
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard).map_err(io::Error::from)?;
    Ok(needed)
}

#[cfg(test)]
mod tests {
    use super::{descriptor_limit, ensure_descriptor_limit, open_descriptors};
    use crate::error::DescriptorLimitError;

    #[test]
    fn a_limit_already_high_enough_is_left_alone() {
        let soft = descriptor_limit().unwrap();
        assert_eq!(ensure_descriptor_limit(1).unwrap(), soft);
        assert_eq!(descriptor_limit().unwrap(), soft);
    }

    #[test]
    fn what_the_hard_limit_forbids_is_refused_with_both_numbers() {
        let error = ensure_descriptor_limit(u64::MAX - 1).unwrap_err();
        assert!(
            matches!(error, DescriptorLimitError::TooLow { needed, .. } if needed == u64::MAX - 1)
        );
    }

    #[test]
    fn there_are_open_descriptors() {
        assert!(open_descriptors().unwrap() >= 3);
    }
}
