//! What is said: the protocols as machines that know only bytes.
//!
//! Nothing here reads a socket, a clock or a file, and nothing here is async. A machine asks
//! (`Step`), its driver acts, and time limits are the driver's.

pub mod back;
mod buffer;
pub mod capability;
mod farewell;
pub mod front;
pub mod identity;
pub mod imap;
mod machine;
mod outbox;
pub mod pop3;
pub mod probe;
pub mod proxy_protocol;
pub mod refusal;
pub mod relay;
pub mod sasl;
pub mod worker;

pub use farewell::farewell;
pub use machine::{Machine, Step};
