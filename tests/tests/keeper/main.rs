//! The keeper, with generations that only pretend to serve (`fake-generation`).

mod chain;
mod control;
mod failures;
mod instance;
mod lifecycle;
mod refusals;
