//! How bytes travel: listening, connecting, TLS, driving a machine, relaying.
//!
//! Nothing here knows a protocol's words or a user. Nothing here buffers for an idle connection:
//! bytes pass through a buffer that belongs to the worker thread and is borrowed within one poll.

mod connect;
mod converse;
mod duplex;
mod join;
mod listen;
mod scratch;
mod socket;
mod sources;
mod stream;
pub mod tls;

pub use connect::{ConnectFailure, NoLocalPort, connect};
pub use converse::{Lost, converse};
pub use duplex::Duplex;
pub use join::{Direction, Ended, Pair, Standing, Watch};
pub use listen::{Listener, bind};
pub use sources::{PortsUsed, Sources, try_source, usable_ports};
pub use stream::{Received, Stream};
