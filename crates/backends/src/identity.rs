//! How a back end is told who the client is: by a PROXY header before everything else, or natively by
//! the login machine. Never by both.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use proto::{
    identity::{ClientId, Identity, Transport},
    proxy_protocol::{self, Addresses, Header},
};

use crate::IdentityMode;

/// Who wants to enter a back end.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where it comes from, by whoever we believe.
    pub ip: IpAddr,
    /// Who it is; may be left out where no back end is told ([`crate::Backends::are_told`]).
    pub identity: Option<Arc<Identity>>,
    /// What it says of its own program (IMAP `ID`), where that is to go on.
    pub id: Option<ClientId>,
    /// The version of TLS towards us, or a load balancer before us, if any and known, as `1.3`; may be left out
    /// likewise.
    pub tls: Option<Box<str>>,
}

/// What the login machine tells.
pub(crate) fn told(mode: IdentityMode, client: &Client) -> Option<Arc<Identity>> {
    match mode {
        IdentityMode::Native => client.identity.clone(),
        IdentityMode::None | IdentityMode::ProxyV1 | IdentityMode::ProxyV2 => None,
    }
}

/// The header that goes before everything else.
pub(crate) fn header(mode: IdentityMode, client: &Client) -> Option<Vec<u8>> {
    let identity = client.identity.as_ref()?;
    let addresses = same_family(identity.client, identity.connected);
    match mode {
        IdentityMode::Native | IdentityMode::None => None,
        IdentityMode::ProxyV1 => Some(proxy_protocol::build_v1(addresses)),
        IdentityMode::ProxyV2 => Some(proxy_protocol::build_v2(&Header {
            addresses: Some(addresses),
            alpn: None,
            server_name: identity.server_name.clone(),
            tls: (identity.transport == Transport::Tls).then(|| proxy_protocol::Tls {
                certificate: false,
                common_name: None,
                version: client.tls.as_ref().map(|version| format!("TLSv{version}")),
            }),
            unique_id: Some(identity.session.as_str().as_bytes().to_vec()),
        })),
    }
}

/// The header of a connection that we make for ourselves: a look at what the back end can do. Where a
/// header is expected, one has to come.
pub(crate) fn header_of_a_look(mode: IdentityMode) -> Option<Vec<u8>> {
    let local =
        Header { addresses: None, alpn: None, server_name: None, tls: None, unique_id: None };
    // Dovecot takes no port 0.
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    match mode {
        IdentityMode::Native | IdentityMode::None => None,
        // Version 1 has no word for it but UNKNOWN, which is not to be sent; loopback says it as well.
        IdentityMode::ProxyV1 => {
            Some(proxy_protocol::build_v1(Addresses { client: nowhere, connected: nowhere }))
        }
        IdentityMode::ProxyV2 => Some(proxy_protocol::build_v2(&local)),
    }
}

/// Both addresses in one family, as the header wants them: an IPv4 address beside an IPv6 one is written
/// as IPv6 (RFC 4291 section 2.5.5.2).
fn same_family(client: SocketAddr, connected: SocketAddr) -> Addresses {
    let mapped = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
        v6 @ SocketAddr::V6(_) => v6,
    };
    if client.is_ipv4() == connected.is_ipv4() {
        Addresses { client, connected }
    } else {
        Addresses { client: mapped(client), connected: mapped(connected) }
    }
}

#[cfg(test)]
mod tests {
    use proto::{
        identity::{FIRST_TTL, SessionName},
        proxy_protocol::{Parsed, parse},
    };

    use super::*;

    fn client(from: &str, connected: &str, transport: Transport) -> Client {
        let identity = Identity {
            client: from.parse().unwrap(),
            connected: connected.parse().unwrap(),
            forward: Vec::new(),
            server_name: "mail.example.org".parse().ok(),
            session: SessionName::new("0123456789abcdef").unwrap(),
            transport,
            ttl: FIRST_TTL,
        };
        let ip = identity.client.ip();
        Client { ip, identity: Some(Arc::new(identity)), id: None, tls: Some("1.3".into()) }
    }

    fn read(header: Option<Vec<u8>>) -> Header {
        let bytes = header.unwrap();
        match parse(&bytes) {
            Parsed::Done { used, header } if used == bytes.len() => header,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_back_end_is_never_told_in_two_ways() {
        let client = client("192.0.2.1:5", "198.51.100.1:993", Transport::Tls);
        for mode in
            [IdentityMode::Native, IdentityMode::None, IdentityMode::ProxyV1, IdentityMode::ProxyV2]
        {
            assert!(told(mode, &client).is_none() || header(mode, &client).is_none(), "{mode:?}");
        }
    }

    #[test]
    fn version_2_tells_of_tls_and_names_the_session() {
        let client = client("192.0.2.1:5", "198.51.100.1:993", Transport::Tls);
        let header = read(header(IdentityMode::ProxyV2, &client));
        let (addresses, identity) = (header.addresses.unwrap(), client.identity.unwrap());
        assert_eq!(addresses.client, identity.client);
        assert_eq!(addresses.connected, identity.connected);
        assert_eq!(header.tls.unwrap().version.as_deref(), Some("TLSv1.3"));
        assert_eq!(header.unique_id.as_deref(), Some(&b"0123456789abcdef"[..]));
    }

    #[test]
    fn mixed_families_are_both_written_as_ipv6() {
        let client = client("192.0.2.1:5", "[2001:db8::1]:993", Transport::Insecure);
        for mode in [IdentityMode::ProxyV1, IdentityMode::ProxyV2] {
            // The reader takes the mapping back.
            let addresses = read(header(mode, &client)).addresses.unwrap();
            let identity = client.identity.as_ref().unwrap();
            assert_eq!(addresses.client, identity.client, "{mode:?}");
            assert_eq!(addresses.connected, identity.connected, "{mode:?}");
        }
    }

    #[test]
    fn our_own_visits_say_local() {
        assert!(read(header_of_a_look(IdentityMode::ProxyV2)).addresses.is_none());
        let of_version_1 = read(header_of_a_look(IdentityMode::ProxyV1)).addresses.unwrap();
        assert!(of_version_1.client.ip().is_loopback() && of_version_1.client.port() > 0);
        assert!(header_of_a_look(IdentityMode::Native).is_none());
    }
}
