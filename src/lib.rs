//! hotredis: a Redis-compatible server whose binary is replaced under live traffic.
