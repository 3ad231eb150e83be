//! A back end that lets everybody in and costs next to nothing: IMAP, POP3, and the HTTP answers nginx asks for.
//! Nothing here keeps mail, checks a password or is used outside measuring.

mod auth_http;
mod imap;
mod pop3;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4_096;

/// What the stub listens on, and what it gives to whom asks for a message.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Settings {
    /// Address of the IMAP listener; port 0 lets the kernel choose.
    #[arg(long, default_value = "127.0.0.1:10143")]
    pub(crate) imap: SocketAddr,
    /// Address of the POP3 listener.
    #[arg(long, default_value = "127.0.0.1:10110")]
    pub(crate) pop3: SocketAddr,
    /// Address of the HTTP listener that answers nginx' `auth_http`.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) auth_http: SocketAddr,
    /// Size of each message in bytes, unless the mailbox is called `bytes-NUMBER`.
    #[arg(long, default_value_t = 65_536)]
    pub(crate) message_bytes: u64,
}

impl Settings {
    /// Loopback ports chosen by the kernel.
    pub(crate) fn anywhere() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { imap: any, pop3: any, auth_http: any, message_bytes: 65_536 }
    }
}

/// Where a running stub listens.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Ports {
    pub(crate) imap: SocketAddr,
    pub(crate) pop3: SocketAddr,
    pub(crate) auth_http: SocketAddr,
}

/// A stub whose listeners are bound, before it serves.
pub(crate) struct Stub {
    runtime: Runtime,
    listeners: [TcpListener; 3],
    ports: Ports,
    message_bytes: u64,
}

impl Stub {
    /// Binds the three listeners.
    ///
    /// # Errors
    /// When an address is taken, or the runtime cannot be made.
    pub(crate) fn bind(settings: Settings) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let within = runtime.enter();
        let imap = listen(settings.imap)?;
        let pop3 = listen(settings.pop3)?;
        let auth_http = listen(settings.auth_http)?;
        drop(within);
        let ports = Ports {
            imap: imap.local_addr()?,
            pop3: pop3.local_addr()?,
            auth_http: auth_http.local_addr()?,
        };
        let message_bytes = settings.message_bytes;
        Ok(Self { runtime, listeners: [imap, pop3, auth_http], ports, message_bytes })
    }

    /// Where it listens.
    pub(crate) fn ports(&self) -> Ports {
        self.ports
    }

    /// Serves on a thread of its own until the program ends.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn spawn(self) -> io::Result<Ports> {
        let ports = self.ports;
        thread::Builder::new().name("stub".to_owned()).spawn(move || self.serve())?;
        Ok(ports)
    }

    /// Serves on this thread, for ever.
    pub(crate) fn serve(self) {
        let [imap, pop3, auth_http] = self.listeners;
        let (bytes, ports) = (self.message_bytes, self.ports);
        self.runtime.block_on(async move {
            tokio::join!(
                accept(imap, move |stream| imap::serve(stream, bytes)),
                accept(pop3, move |stream| pop3::serve(stream, bytes)),
                accept(auth_http, move |stream| auth_http::serve(stream, ports)),
            )
        });
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Ports of a stub that just ended may be taken again at once.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|error| io::Error::new(error.kind(), format!("cannot bind {address}: {error}")))
}

async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        // Out of descriptors: the load generator sees a connection without a greeting and says so.
        let Ok((stream, _)) = listener.accept().await else { continue };
        if stream.set_nodelay(true).is_ok() {
            let session = serve(stream);
            tokio::spawn(async move {
                // A peer that resets is what it wants to be: gone.
                let _ = session.await;
            });
        }
    }
}
