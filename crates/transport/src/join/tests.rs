//! What a relay owns, seen from within.

use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::tls::{
    CertificateFiles, ClientTls, ServerSettings, ServerTls, Verify, make_self_signed,
};

/// Watches nothing.
struct Unwatched;

impl Watch for Unwatched {
    fn relayed(&self, _: Direction, _: usize) {}

    fn poll_end(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

async fn leg() -> (Stream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (peer, ours) = tokio::join!(TcpStream::connect(address), listener.accept());
    (Stream::plain(peer.unwrap()), Stream::plain(ours.unwrap().0))
}

async fn secure(client: &mut Stream, server: &mut Stream) {
    let folder = tempfile::tempdir().unwrap();
    let files = CertificateFiles {
        certificate: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    make_self_signed(&files).unwrap();
    let settings = ServerSettings {
        certificates: vec![files],
        protocol: model::Protocol::Imap,
        clients: None,
    };
    let tls = ServerTls::load(settings).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let believing = ClientTls::new(&Verify::Nothing).unwrap();
    let (accepted, connected) = tokio::join!(server.accept_tls(tls.config()), async {
        client.connect_tls(&believing, name).await?;
        client.write_all(b"").await
    });
    accepted.unwrap();
    connected.unwrap();
}

async fn hears(stream: &mut Stream, mut count: usize) {
    while count > 0 {
        stream.receive(|bytes| count -= bytes.len()).await.unwrap();
    }
}

#[tokio::test]
async fn an_idle_relay_holds_no_buffer_after_traffic() {
    for tls in [false, true] {
        let work = async {
            let (mut client, mut client_leg) = leg().await;
            let (mut backend, mut backend_leg) = leg().await;
            if tls {
                secure(&mut client, &mut client_leg).await;
                secure(&mut backend_leg, &mut backend).await;
            }
            let mut pair = Pair::new(client_leg, b"a ", backend_leg, b"* ").unwrap();
            let bulk = vec![7; 1_000_000];
            let traffic = async {
                tokio::join!(client.write_all(&bulk), hears(&mut backend, bulk.len() + 2))
                    .0
                    .unwrap();
                tokio::join!(backend.write_all(&bulk), hears(&mut client, bulk.len() + 2))
                    .0
                    .unwrap();
            };
            tokio::select! {
                ended = pair.relay(&Unwatched) => panic!("{ended:?}"),
                () = traffic => {}
            }
            assert!(pair.client.holds_nothing() && pair.backend.holds_nothing(), "tls: {tls}");
        };
        timeout(Duration::from_secs(30), work).await.unwrap();
    }
}
