//! The keeper, with generations that only pretend to serve (`fake-generation`).

mod chain;
mod control;
mod failures;
mod fleet;
mod history;
mod instance;
mod lifecycle;
mod probation;
mod refusals;
mod rollback;
