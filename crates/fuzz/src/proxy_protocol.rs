//! What holds of the first bytes of a connection from a proxy.
//!
//! Nothing here decides whom to believe.

use proto::proxy_protocol::{Header, MAX_BYTES, Parsed, build_v1, build_v2, parse};

use crate::input::Input;

/// What begins every header of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Any first bytes. With setting 1 the signature of version 2 comes before them.
pub fn proxy_protocol(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let start = if input.is_set(1) { SIGNATURE } else { b"" };
    let stream = [start, input.stream].concat();
    let whole = parse(&stream);
    for length in 0..=stream.len().min(300) {
        let part = parse(stream.get(..length).unwrap_or_default());
        assert!(part == Parsed::NeedMore || part == whole, "{part:?} {whole:?}");
    }
    match whole {
        Parsed::Bad(_) => {}
        Parsed::NeedMore => assert!(stream.len() < MAX_BYTES),
        Parsed::Done { used, header } => {
            assert!(used <= stream.len() && used <= MAX_BYTES);
            is_built_again(&header);
        }
    }
}

/// What was read can be written and read again.
fn is_built_again(header: &Header) {
    let built = build_v2(header);
    let Parsed::Done { used, header: again } = parse(&built) else {
        unreachable!("a header of ours is not read");
    };
    assert_eq!(used, built.len());
    assert_eq!(again.addresses, header.addresses);
    if header.addresses.is_some() {
        assert_eq!(again.unique_id, header.unique_id);
        assert_eq!(again.tls, header.tls);
    }
    if let Some(addresses) = header.addresses {
        let built = build_v1(addresses);
        let only = Header { addresses: Some(addresses), ..Header::default() };
        assert_eq!(parse(&built), Parsed::Done { used: built.len(), header: only });
    }
}
