//! Directives of the configuration: what there is, how a value is read and shown, and the values in
//! force.
//!
//! | file | what |
//! | --- | --- |
//! | [`directives`] | the table: name, alias, kind, default, who may change it |
//! | [`kind`] | kinds of values: parsing with Redis's error texts, and showing |
//! | `accessors` | typed reading of what the server uses: methods of [`ConfigValues`] |
//! | [`values`] | the values in force, `CONFIG GET` and `SET`, the archive that outlives an upgrade |
//!
//! Every directive of Redis 7.0.15 is in the table, so that clients and tools find what they
//! expect. Those marked `inert` are checked, stored and shown, but nothing in hotredis reads them
//! yet.

mod accessors;
pub mod directives;
pub mod kind;
pub mod values;

pub use directives::{Directive, Id};
pub use kind::{BufferLimit, BufferLimits, Value};
pub use values::{Authority, ConfigError, ConfigValues, Update};
