//! What is said: the protocols as machines that know only bytes.
//!
//! Nothing here reads a socket, a clock or a file, and nothing here is async. A machine asks
//! (`Step`), its driver acts, and time limits are the driver's.

pub mod back;
pub mod front;
mod machine;

pub use machine::{Machine, Step};
