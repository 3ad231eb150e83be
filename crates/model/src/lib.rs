//! The words that every room of Posthouse speaks.
//!
//! Nothing here reads a socket, a clock or a file, and nothing here is async. Each type is parsed
//! once, so that whoever holds one need not check it again.

mod address;
mod change;
mod credentials;
mod name;
mod protocol;
mod reason;
mod route;
mod secret;
mod session;

pub use address::{DnsName, Host, HostPort, InvalidAddress, network};
pub use change::{Change, MailboxChanged, Scope};
pub use credentials::{Credentials, Mechanism, Mechanisms, Proof};
pub use name::{BackendName, CanonicalUser, InvalidBackendName, InvalidUserName, UserName};
pub use protocol::Protocol;
pub use reason::{Blame, Level, Reason, Refusal};
pub use route::{Route, Target};
pub use secret::{InvalidSecret, InvalidToken, Secret, StoredKey, Token};
pub use session::SessionId;
