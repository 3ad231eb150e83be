//! The front door: clients come in, are led to their back end, and are relayed.
//!
//! Nothing here checks a password or speaks HTTP. After login nothing here understands what is said.

mod bind;
mod changes;
mod closing;
mod departures;
mod faults;
mod handshakes;
mod limits;
mod login;
mod pace;
mod refusal;
mod scram;
mod serve;
mod session;
mod sessions;
mod settings;
mod talk;
mod throttle;

pub use bind::{BindError, Bound, bind};
pub use changes::Changes;
pub use serve::{Running, serve};
pub use sessions::{Hold, SessionHold, SessionView, Sessions};
pub use settings::{Limits, ListenerSettings, ListenerTls, Settings};
