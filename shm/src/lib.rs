//! The shared-memory arena.
