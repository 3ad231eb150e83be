//! What a front keeps of an IMAP client's own ID.

use model::Protocol;
use proto::front::{self, Front, Privacy};
use proto::sasl::scram::ChannelBindings;
use proto::{Machine, Step};

use crate::properties;

/// A front that heard these commands, with TLS made where it was asked for.
fn heard(commands: &str) -> Option<String> {
    let settings = front::Settings {
        starttls: true,
        trusted: true,
        ..properties::settings(Privacy::ClearRefused, front::Limits::default())
    };
    let mut front = Front::new(Protocol::Imap, settings);
    for command in commands.split_inclusive('\n') {
        front.receive(command.as_bytes());
        loop {
            match front.step() {
                Step::Event(front::Event::StartTls) => {
                    let (certificate, bindings) = (None, ChannelBindings::default());
                    front.answer(front::Answer::TlsStarted { certificate, bindings });
                }
                Step::Event(_) | Step::Write(_) => {}
                Step::Read => break,
            }
        }
    }
    front.client_id().map(|id| id.as_str().to_owned())
}

#[test]
fn the_first_id_that_says_something_of_the_client_is_kept() {
    let proxy_s = "a ID (\"x-originating-ip\" \"192.0.2.1\")\r\n";
    assert_eq!(heard(proxy_s), None);
    let client_s = "b ID (\"name\" \"Mailer\" \"X-Internal\" \"1\" \"os\" NIL)\r\n";
    let kept = Some("(\"name\" \"Mailer\" \"os\" NIL)".to_owned());
    assert_eq!(heard(&[proxy_s, client_s].concat()), kept);
    let later = "c ID (\"name\" \"Another\")\r\n";
    assert_eq!(heard(&[client_s, later].concat()), kept);
}

#[test]
fn what_a_client_says_of_itself_in_clear_is_forgotten() {
    let before = "a ID (\"name\" \"Mallory\")\r\nb STARTTLS\r\n";
    assert_eq!(heard(before), None);
    let after = [before, "c ID (\"name\" \"Mailer\")\r\n"].concat();
    assert_eq!(heard(&after), Some("(\"name\" \"Mailer\")".to_owned()));
}
