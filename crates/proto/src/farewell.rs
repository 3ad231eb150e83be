//! The last words to a client whose connection we end, before its login and after.
//!
//! Nothing here ends anything. A refused login is no end; that is worded by each protocol's front.

use model::{Protocol, Reason};

/// The last line to a client: whole, with its line end.
pub fn farewell(protocol: Protocol, reason: Reason) -> Vec<u8> {
    let (ours, text) = match reason {
        Reason::ClientLineTooLong => (false, "Line too long"),
        Reason::ClientLiteralTooLong => (false, "Literal too long"),
        Reason::ClientProtocol => (false, "Protocol error"),
        Reason::ClientStartTlsInjection => (false, "Nothing may follow before TLS"),
        Reason::ClientTimeout => (false, "Too slow"),
        Reason::ClientTooManyCommands => (false, "Too many commands before login"),
        Reason::Idle => (false, "Idle for too long"),
        Reason::Kicked => (false, "Session ended by the administrator"),
        Reason::LimitAddress => (true, "Too many connections from your address"),
        Reason::LimitConnections | Reason::LimitListener => (true, "Too many connections"),
        Reason::NoLogin => (false, "Logging out"),
        Reason::Shutdown => (true, "Server shutting down"),
        _ => (true, "Try again later"),
    };
    let start = match (protocol, ours) {
        (Protocol::Imap, false) => "* BYE ",
        (Protocol::Imap, true) => "* BYE [UNAVAILABLE] ",
        (Protocol::Pop3, false) if reason == Reason::NoLogin => "+OK ",
        (Protocol::Pop3, false) => "-ERR ",
        (Protocol::Pop3, true) => "-ERR [SYS/TEMP] ",
    };
    format!("{start}{text}\r\n").into_bytes()
}
