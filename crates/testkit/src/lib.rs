//! Real mail servers, scripted peers and small mail clients for the demo, the end-to-end tests and the bench.
//! Nothing here is part of the product, and nothing here installs anything on the host.

pub mod certs;
pub mod imap_server;
pub mod mail_clients;
pub mod peers;
pub mod ports;
pub mod posthouse;
pub mod process;
pub mod scripted;
pub mod servers;
pub mod wait;
pub mod wire;
pub mod workspace;
