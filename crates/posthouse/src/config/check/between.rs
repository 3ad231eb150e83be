//! What is wrong only between tables: tokens that no back end could judge, and back ends that are
//! ourselves. Nothing here asks a name server or the machine's interfaces.

use std::net::SocketAddr;

use model::{Host, Mechanism};

use super::{File, backend::Checked};
use crate::config::{Listener, mistake::Mistake, read::Reader};

/// A token can only be judged by whoever issued it, so it has to be forwarded.
pub(super) fn tokens(file: &File, backends: &[Checked], reader: &mut Reader<'_>) {
    let listeners = file.listeners.value().into_iter().flat_map(|tables| &tables.0);
    let listed =
        listeners.filter_map(|at| at.value.mechanisms.value()).flat_map(|listed| &listed.0);
    let is_token = |mechanism| matches!(mechanism, Mechanism::XOAuth2 | Mechanism::OAuthBearer);
    let Some(login) = backends.iter().find_map(|backend| backend.judged_here.as_ref()) else {
        return;
    };
    for at in listed.filter(|at| is_token(at.value)) {
        let title = format!("`{}` is a token, which only a back end can judge", at.value.word());
        let mistake =
            Mistake::error(&at.span, title).help("all back ends need login = \"forward\"");
        reader.note(mistake.other(login, "this one gets no tokens"));
    }
}

/// A back end at one of our own addresses would be entered again and again. Names, and other addresses of
/// this machine, are looked at when a connection is made.
pub(super) fn loops(backends: &[Checked], listeners: &[Listener], reader: &mut Reader<'_>) {
    for backend in backends {
        for host in &backend.hosts {
            let Host::Ip(ip) = host.value else { continue };
            let meets = |listener: &&Listener| {
                // Only the ports of protocols that are spoken here are ever used.
                let mut ports = listeners.iter().map(|other| backend.ports.of(other.protocol));
                ports.any(|port| {
                    let address = SocketAddr::new(ip, port);
                    listener.addresses.iter().any(|own| is_at(own, &address))
                })
            };
            if let Some(listener) = listeners.iter().find(meets) {
                let title = format!(
                    "this back end is our own listener \"{}\": it would be a loop",
                    listener.name
                );
                let help = "correct `address`, `imap_port` or `pop3_port`";
                reader.note(Mistake::error(&host.span, title).help(help));
            }
        }
    }
}

/// Whether a listener is met at an address.
fn is_at(own: &SocketAddr, address: &SocketAddr) -> bool {
    let here = address.ip().is_loopback() || address.ip().is_unspecified();
    own.port() == address.port()
        && own.is_ipv4() == address.is_ipv4()
        && (own.ip() == address.ip() || (own.ip().is_unspecified() && here))
}
