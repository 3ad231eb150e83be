//! POP3 as far as a proxy needs it (RFC 1939, 2449, 5034).
//! Nothing here refuses a user.

use std::io;

use tokio::net::TcpStream;

use super::wire::Wire;

const CAPABILITIES: &str = "+OK\r\nUSER\r\nSASL PLAIN\r\nUIDL\r\nTOP\r\nPIPELINING\r\n.\r\n";

/// Serves one client to his QUIT or end.
pub(super) async fn serve(stream: TcpStream, message_bytes: u64) -> io::Result<()> {
    // Message text is whole lines of 64 bytes, which never begin with a dot.
    let bytes = message_bytes.next_multiple_of(64);
    let mut wire = Wire::new(stream);
    wire.say(b"+OK ready\r\n").await?;
    while let Some(line) = wire.line().await? {
        let mut words = line.split_ascii_whitespace();
        let verb = words.next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "CAPA" => CAPABILITIES.to_owned(),
            "AUTH" => {
                if words.nth(1).is_none() {
                    wire.say(b"+ \r\n").await?;
                    wire.line().await?;
                }
                "+OK logged in\r\n".to_owned()
            }
            "STAT" => format!("+OK 1 {bytes}\r\n"),
            "LIST" => format!("+OK\r\n1 {bytes}\r\n.\r\n"),
            "UIDL" => "+OK\r\n1 one\r\n.\r\n".to_owned(),
            "RETR" => {
                wire.say(b"+OK\r\n").await?;
                wire.pour(bytes).await?;
                ".\r\n".to_owned()
            }
            "QUIT" => {
                wire.say(b"+OK\r\n").await?;
                return wire.close().await;
            }
            "USER" | "PASS" | "NOOP" | "DELE" | "RSET" => "+OK\r\n".to_owned(),
            _ => "-ERR unknown command\r\n".to_owned(),
        };
        wire.say(answer.as_bytes()).await?;
    }
    Ok(())
}
