//! The front door: clients come in, are led to their back end, and are relayed.
//!
//! Nothing here checks a password or speaks HTTP. After login nothing here understands what is said.

mod bind;
mod limits;
mod login;
mod serve;
mod session;
mod sessions;
mod settings;

pub use bind::{BindError, Bound, bind};
pub use serve::{Running, serve};
pub use sessions::{SessionView, Sessions};
pub use settings::{Limits, ListenerSettings, ListenerTls, Settings};
