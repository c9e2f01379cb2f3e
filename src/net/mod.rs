//! The network: listeners, client connections and the poll. It knows no command and no key.
//!
//! | module | what |
//! | --- | --- |
//! | [`alarm`] | a timer that the poll watches |
//! | [`listener`] | binding, accepting |
//! | [`connection`] | one client's socket |
//! | [`outbound`] | connections to other servers |
//! | [`poller`] | the poll, and which connection stands behind which token |

pub mod alarm;
pub mod connection;
pub mod listener;
pub mod outbound;
pub mod poller;

pub use connection::{Connection, Socket};
pub use listener::{Listener, ListenerError};
pub use outbound::Outbound;
pub use poller::{Poller, Ready, Source};
