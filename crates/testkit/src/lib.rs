//! Real mail servers, scripted peers and small mail clients for the demo, the end-to-end tests and the bench.
//! Nothing here is part of the product, and nothing here installs anything on the host.

//X pub mod certs;
//X pub mod mail_clients;
pub mod peers;
pub mod ports;
//X pub mod posthouse;
pub mod process;
//X pub mod scripted;
//X pub mod servers;
pub mod wait;
//X pub mod wire;
pub mod workspace;
