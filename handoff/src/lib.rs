//! Moving descriptors and ownership between processes.
