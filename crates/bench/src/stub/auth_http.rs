//! The answers nginx' mail proxy asks for before each login: everybody may in, and goes to this stub.
//! Nothing here is HTTP beyond one request and one answer per connection.

use std::io;

use tokio::net::TcpStream;

use super::Ports;
use super::wire::Wire;

/// Answers one request.
pub(super) async fn serve(stream: TcpStream, ports: Ports) -> io::Result<()> {
    let mut wire = Wire::new(stream);
    let mut address = ports.imap;
    while let Some(line) = wire.line().await? {
        if line.eq_ignore_ascii_case("auth-protocol: pop3") {
            address = ports.pop3;
        }
        if line.is_empty() {
            let answer = format!(
                "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: {}\r\nAuth-Port: {}\r\n\r\n",
                address.ip(),
                address.port()
            );
            wire.say(answer.as_bytes()).await?;
            return wire.close().await;
        }
    }
    Ok(())
}
