//! The name that a client asks for (RFC 6066 section 3), carried from the resolver of certificates to the
//! connection that it was called for.
//!
//! The library shows the name to the resolver only, and calls it within the call that takes the
//! ClientHello, on the same thread. Nothing here outlives that call.

use std::cell::Cell;

use model::DnsName;

thread_local! {
    static ASKED: Cell<Option<DnsName>> = const { Cell::new(None) };
}

/// Notes the name of the ClientHello at hand.
pub(super) fn note(name: Option<&str>) {
    ASKED.set(name.and_then(|name| name.parse().ok()));
}

/// Does `work`, which may take a ClientHello; gives back the name that was noted meanwhile.
pub(crate) fn during<T>(work: impl FnOnce() -> T) -> (T, Option<DnsName>) {
    ASKED.set(None);
    let done = work();
    (done, ASKED.take())
}
