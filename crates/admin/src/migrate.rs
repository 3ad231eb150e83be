//! Moving accounts from any IMAP server to any other: which, how they are reached, and doing it.
//!
//! Nothing here knows of arguments or of a configuration file.

mod account;
mod imap;
mod list;
mod location;
mod provider;
mod run;
mod secret;

pub use self::{
    account::{Account, Asked, Credential, Server, Side, Spelled, Way},
    imap::ByImap,
    list::{List, ListFormat, Listed, Mistake, Mistaken},
    location::{InvalidLocation, Location, Scheme},
    provider::{Preset, Provider, UnknownProvider},
    run::{Act, Came, Ended, NotDone, Pair, Reach, Settings, Watch, Why, run},
    secret::{NoSecret, SecretSource},
};
