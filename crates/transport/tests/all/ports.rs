//! Listening and connecting.

use std::{net::SocketAddr, time::Duration};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use transport::{ConnectFailure, Listener, bind, connect};

use crate::within;

const LIMIT: Duration = Duration::from_secs(5);

fn any(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), 0)
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
