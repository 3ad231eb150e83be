//! Sessions held between two commands, and what they tell of changes, before a real server.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use backends::{Backends, BackendSettings, Deadlines, Identities, LoginMode, Ports, Tls};
use directory::{Answer, Directory, Place, RuleSettings, Rules, SourceKind, SourceSettings, StaticSettings};
