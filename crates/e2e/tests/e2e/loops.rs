//! Instances whose back ends are each other: a login that goes round ends, and nothing spins.

use e2e::{
    cases,
    door::{Door, HEAD, SOON, everybody_at, ports},
    headers::v2,
    house::House,
    runner::Case,
    secrets::password,
};
use testkit::{scripted::Client, wait};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_login_that_goes_round_is_refused_by_the_eighth_instance_it_meets,
        where_nobody_counts_the_instances_logins_under_way_are_the_end,
    ]
}

/// Instances of which each is the back end of the one before, and the first that of the last.
struct Ring {
    doors: Vec<Door>,
    imap: u16,
    pop3: u16,
}

const LATER: [(&str, &str); 2] =
    [("imap", "l NO [UNAVAILABLE] Try again later"), ("pop3", "-ERR [SYS/TEMP] Try again later")];

impl Ring {
    /// `listener` and `backend` are more lines of these tables.
    fn of(length: usize, listener: &str, backend: &str) -> Self {
        let all: Vec<[u16; 2]> = (0..length).map(|_| ports()).collect();
        let next = all.iter().cycle().skip(1);
        let doors = all.iter().zip(next).map(|([imap, pop3], [next_imap, next_pop3])| {
            let mut config = HEAD.to_owned();
            for (protocol, port) in [("imap", imap), ("pop3", pop3)] {
                config += &format!(
                    "[[listener]]\nprotocol = \"{protocol}\"\naddress = \"127.0.0.1:{port}\"\n\
                     tls = \"none\"\nallow_clear_logins = true\n{listener}\n"
                );
            }
            config += &e2e::door::backend("next", *next_imap, *next_pop3);
            Door::open(&format!("{config}{backend}\n{}", everybody_at("next")))
        });
        let doors = doors.collect();
        let [imap, pop3] = all[0];
        Self { doors, imap, pop3 }
    }

    /// What a login at the first instance is answered; the header comes first.
    fn answer(&self, protocol: &str, header: &[u8]) -> String {
        let imap = protocol == "imap";
        let port = if imap { self.imap } else { self.pop3 };
        let mut client = Client::connect(("127.0.0.1", port)).unwrap();
        client.set_deadline(SOON);
        client.send(header).unwrap();
        client.read_line().unwrap();
        let secret = password("anna");
        if imap {
            let answer = client.ask(&format!("l LOGIN anna {secret}"), "l ").unwrap().concat();
            client.ask("n NOOP", "n OK").unwrap();
            return answer;
        }
        client.ask("USER anna", "+OK").unwrap();
        let answer = client.ask(&format!("PASS {secret}"), "").unwrap().concat();
        client.ask("NOOP", "+OK").unwrap();
        answer
    }

    /// The reasons of all refused logins by this protocol, at all instances.
    fn reasons(&self, protocol: &str) -> Vec<String> {
        let word = format!("protocol={protocol} ");
        let lines = self.doors.iter().flat_map(|door| door.log_lines());
        lines
            .filter(|line| line.contains("login refused") && line.contains(&word))
            .map(|line| {
                let (_, reason) = line.split_once(" reason=").unwrap();
                reason.split(' ').next().unwrap().to_owned()
            })
            .collect()
    }

    /// Logs in twice by each protocol. Each time the client is told to try later, and one instance of all that
    /// the login meets has `reason` for it, the others that the next one refused: `times` in all. Whatever still
    /// went round after the first answer would be among the reasons after the second.
    fn assert_ends(&self, header: &[u8], reason: &str, times: usize) {
        for (protocol, later) in LATER {
            for round in 1..=2 {
                assert_eq!(self.answer(protocol, header), later);
                let all = wait::until(SOON, || self.reasons(protocol).len() >= times * round);
                let reasons = self.reasons(protocol);
                assert!(all, "{protocol}: {reasons:?}");
                let of_it = reasons.iter().filter(|seen| *seen == reason).count();
                let of_next = reasons.iter().filter(|seen| *seen == "backend-unavailable").count();
                assert_eq!(
                    (of_it, of_next),
                    (round, (times - 1) * round),
                    "{protocol}: {reasons:?}"
                );
            }
        }
    }
}

const TRUSTED: &str = "trusted_networks = [\"127.0.0.0/8\"]";
const NATIVE: &str = "identity = \"native\"";

fn a_login_that_goes_round_is_refused_by_the_eighth_instance_it_meets(_: &House) {
    for length in [2, 3] {
        Ring::of(length, TRUSTED, NATIVE).assert_ends(b"", "loop", 8);
    }
}

fn where_nobody_counts_the_instances_logins_under_way_are_the_end(_: &House) {
    let proxies = "proxy_networks = [\"127.0.0.0/8\"]";
    let header = v2("192.0.2.7:45678");
    for (listener, identity, header) in [
        ("", "identity = \"none\"", &b""[..]),
        (proxies, "identity = \"proxy-v1\"", &header),
        (proxies, "identity = \"proxy-v2\"", &header),
    ] {
        let backend = format!("{identity}\nlogins_at_once = 3");
        // Three out of each of the two.
        Ring::of(2, listener, &backend).assert_ends(header, "backend-busy", 7);
    }
}
