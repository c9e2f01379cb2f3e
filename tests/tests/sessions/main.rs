//! Whole sessions: one file per kind of state that a connection can be in, cut by upgrades at every point.
//!
//! [`play`] says what the clients of a scenario do, and [`cuts`] performs it without an upgrade, on Redis
//! too, and with upgrades at every point, and with returns to the predecessor; whatever a client hears has to be the same. What does not fit
//! into a play (a hundred megabytes, thousands of requests in flight, a stream of messages without an end)
//! is written out in a file of its own.

mod accepting;
mod belongings;
mod bytes;
mod cuts;
mod descriptors;
mod ends;
mod flags;
mod heard;
mod invalidations;
mod large;
mod messages;
mod monitors;
mod pipelines;
mod play;
mod replaced;
mod silence;
mod stage;
mod transactions;
mod waiting;
