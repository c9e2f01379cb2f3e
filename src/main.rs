//! The `hotredis` command.

fn main() {}
