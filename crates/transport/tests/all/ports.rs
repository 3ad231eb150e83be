//! Listening and connecting.

use std::{net::SocketAddr, time::Duration};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use transport::{ConnectFailure, Listener, Sources, Stream, bind};

use crate::within;

const LIMIT: Duration = Duration::from_secs(5);

fn any(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), 0)
}

/// From where the kernel likes.
async fn connect(
    addresses: impl IntoIterator<Item = SocketAddr>,
    limit: Duration,
) -> Result<(Stream, SocketAddr), ConnectFailure> {
    transport::connect(addresses, &Sources::new(vec![], 100), limit).await
}

/// From these addresses.
fn sources(addresses: &[&str]) -> Sources {
    Sources::new(addresses.iter().map(|ip| ip.parse().unwrap()).collect(), 100)
}

/// A port that nobody listens on.
fn nobody() -> SocketAddr {
    bind(any("127.0.0.1")).unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn clients_are_accepted_and_their_address_is_told() {
    let work = async {
        let socket = bind(any("127.0.0.1")).unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::register(socket).unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (_, told) = listener.accept().await.unwrap();
        assert_eq!(told, client.local_addr().unwrap());
    };
    within(work).await;
}

#[tokio::test]
async fn accepted_sockets_inherit_the_options_of_the_listening_one() {
    let work = async {
        let socket = bind(any("127.0.0.1")).unwrap();
        let address = socket.local_addr().unwrap();
        let listener = TcpListener::from_std(socket).unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap());
        assert!(accepted.keepalive().unwrap());
        let after = accepted.tcp_keepalive_time().unwrap();
        let asking =
            accepted.tcp_keepalive_interval().unwrap() * accepted.tcp_keepalive_retries().unwrap();
        // With less, Linux gives an idle connection up at the first unanswered question.
        let user_timeout = accepted.tcp_user_timeout().unwrap().unwrap();
        assert!(user_timeout >= after + asking, "{user_timeout:?}");
    };
    within(work).await;
}

#[test]
fn ipv6_stands_beside_ipv4_on_the_same_port() {
    let (four, six) = loop {
        let six = bind(any("::")).unwrap();
        let port = six.local_addr().unwrap().port();
        // Another process may have the port on IPv4.
        if let Ok(four) = bind(SocketAddr::new("0.0.0.0".parse().unwrap(), port)) {
            break (four, six);
        }
    };
    assert_eq!(four.local_addr().unwrap().port(), six.local_addr().unwrap().port());
}

#[tokio::test]
async fn addresses_are_tried_in_turn() {
    let work = async {
        let socket = bind(any("127.0.0.1")).unwrap();
        let alive = socket.local_addr().unwrap();
        let (_, chosen) = connect([nobody(), alive, nobody()], LIMIT).await.ok().unwrap();
        assert_eq!(chosen, alive);
    };
    within(work).await;
}

#[tokio::test]
async fn a_failure_tells_of_the_last_address() {
    let work = async {
        let (first, last) = (nobody(), nobody());
        match connect([first, last], LIMIT).await {
            Err(ConnectFailure::Refused(address, _)) => assert_eq!(address, last),
            other => panic!("{:?}", other.err()),
        }
        assert!(matches!(connect([], LIMIT).await, Err(ConnectFailure::NoAddress)));
    };
    within(work).await;
}

#[tokio::test]
async fn a_black_hole_costs_its_deadline_and_then_the_next_address_is_tried() {
    let work = async {
        // A listener whose queue is full does not answer.
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        full.bind(&any("127.0.0.1").into()).unwrap();
        full.listen(0).unwrap();
        let hole = full.local_addr().unwrap().as_socket().unwrap();
        let _first = TcpStream::connect(hole).await.unwrap();
        let limit = Duration::from_millis(200);
        match connect([hole], limit).await {
            Err(ConnectFailure::TimedOut(address, told)) => {
                assert_eq!((address, told), (hole, limit));
            }
            other => panic!("{:?}", other.err()),
        }
        let alive = bind(any("127.0.0.1")).unwrap();
        let (_, chosen) = connect([hole, alive.local_addr().unwrap()], limit).await.ok().unwrap();
        assert_ne!(chosen, hole);
    };
    within(work).await;
}

#[tokio::test]
async fn connections_come_from_the_listed_addresses_in_turn_and_are_counted_while_they_last() {
    let work = async {
        for (host, listed) in
            [("127.0.0.1", ["127.0.0.2", "127.0.0.3"].as_slice()), ("::1", ["::1"].as_slice())]
        {
            let socket = bind(any(host)).unwrap();
            let to = socket.local_addr().unwrap();
            // One of the other family stands between them.
            let other = if to.is_ipv4() { "::1" } else { "127.0.0.2" };
            let sources = sources(&[&[other], listed].concat());
            let mut held = Vec::new();
            for at in 0..4 {
                let (stream, _) = transport::connect([to], &sources, LIMIT).await.unwrap();
                let from = stream.local_address().unwrap().ip().to_string();
                assert_eq!(from, listed[at % listed.len()]);
                held.push(stream);
            }
            let fullest = sources.fullest().unwrap();
            assert_eq!((fullest.destination, fullest.open), (to, 4 / listed.len()));
            drop(held);
            assert_eq!(sources.fullest().unwrap().open, 0);
        }
    };
    within(work).await;
}

#[tokio::test]
async fn an_address_without_a_port_is_passed_over_and_without_any_all_are_told() {
    let work = async {
        let socket = bind(any("127.0.0.1")).unwrap();
        let to = socket.local_addr().unwrap();
        // Of no host (RFC 1112 section 4): the kernel says the same as for an address without a port left.
        let some = sources(&["240.0.0.1", "127.0.0.2"]);
        for _ in 0..3 {
            let (stream, _) = transport::connect([to], &some, LIMIT).await.unwrap();
            assert_eq!(stream.local_address().unwrap().ip().to_string(), "127.0.0.2");
        }
        let none = sources(&["240.0.0.1", "240.0.0.2"]);
        match transport::connect([to], &none, LIMIT).await {
            Err(failure @ ConnectFailure::NoLocalPort(..)) => {
                let told = failure.to_string();
                assert!(told.contains("240.0.0.1") && told.contains("240.0.0.2"), "{told}");
            }
            other => panic!("{:?}", other.err()),
        }
        assert!(none.fullest().is_none_or(|fullest| fullest.open == 0));
    };
    within(work).await;
}
