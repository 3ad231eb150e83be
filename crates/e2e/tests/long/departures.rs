//! Clients of a back end that dies, disconnected one by one.

use std::{
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    door::{Door, SOON, backend, everybody_at, usual},
    house::House,
    runner::Case,
    secrets::password,
    stub::Stub,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![clients_of_a_back_end_that_dies_are_disconnected_one_by_one]
}

fn clients_of_a_back_end_that_dies_are_disconnected_one_by_one(_: &House) {
    const CLIENTS: usize = 200;
    let held = Arc::new(Mutex::new(Vec::<TcpStream>::new()));
    let stub = Stub::imap({
        let held = Arc::clone(&held);
        move |mut talk| {
            held.lock().unwrap().push(talk.wire().tcp().try_clone()?);
            talk.rest().map(|_| ())
        }
    });
    let limits = "[limits]\nconnections_per_address = 0\ndisconnect_spread = \"10s\"\n";
    let rest = format!("{limits}{}{}", backend("a", stub.port(), stub.port()), everybody_at("a"));
    let door = Door::open(&usual(&rest));
    let log_in = || {
        let mut client = door.raw_imap();
        client.ask(&format!("l LOGIN anna {}", password("anna")), "l OK").unwrap();
        client
    };
    let clients: Vec<_> = (0..CLIENTS).map(|_| log_in()).collect();
    assert!(testkit::wait::until(SOON, || held.lock().unwrap().len() == CLIENTS));
    let died = Instant::now();
    for connection in held.lock().unwrap().drain(..) {
        connection.shutdown(Shutdown::Both).unwrap();
    }
    let mut took: Vec<Duration> = thread::scope(|scope| {
        let ends: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                scope.spawn(move || {
                    assert_eq!(client.read_to_end().unwrap(), b"");
                    died.elapsed()
                })
            })
            .collect();
        ends.into_iter().map(|end| end.join().unwrap()).collect()
    });
    took.sort();
    // A hundred at once, and a hundred in each second.
    assert!(took[CLIENTS - 1] > Duration::from_millis(900), "{:?}", took[CLIENTS - 1]);
    assert!(took[CLIENTS - 1] - took[0] > Duration::from_millis(500), "{took:?}");
    assert!(took[CLIENTS - 1] < Duration::from_secs(8), "{:?}", took[CLIENTS - 1]);
    door.line(|line| {
        line.contains("many sessions lost their back end") && line.contains("backend=a")
    });
    // One who leaves in the ordinary way is not kept.
    let mut client = log_in();
    client.send("q LOGOUT\r\n").unwrap();
    let began = Instant::now();
    held.lock().unwrap().drain(..).for_each(|one| one.shutdown(Shutdown::Both).unwrap());
    client.read_to_end().unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
