//! What an operator can do about a handshake with a back end that failed.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

pub(super) const DATES: &str = "renew it there, and look at the clocks of both machines";
pub(super) const ISSUER: &str = "nobody we believe has signed it: set `ca_file` to its authority's certificate or to \
     the certificate itself, or `pin_sha256` to its digest; `verify = false` believes \
     everybody";
pub(super) const NAME: &str =
    "`address` must be one of the names in the certificate; or set `pin_sha256`";
pub(super) const NO_TLS: &str =
    "that port seems to speak no TLS from the first byte: look at `tls` and the port";
const OLD: &str = "a server that knows only TLS 1.0 and 1.1, key exchange by RSA, or keys and \
                   signatures as old, is reached with `tls_legacy = true`; better let it learn newer";
const SIGNATURE: &str = "another has signed it than `ca_file` says, or its RSA key has fewer than 2048 bits, \
                         which `tls_legacy = true` accepts";

const NO_OWN: &str = "it wants a certificate of ours: set `certificate` and `key`";
const OWN: &str = "it does not believe our `certificate`: is the authority that signed it known there, and \
                   is it in date?";
const HUNG_UP: &str = "it hung up in the middle of the handshake. A server that knows only TLS 1.0 and 1.1 may do so: \
                       it is reached with `tls_legacy = true`";

/// What an operator can do about a handshake that failed;
/// nothing where the error says it all.
pub(super) fn of_failed(error: &io::Error) -> Option<&'static str> {
    let Some(inner) = error.get_ref() else {
        use io::ErrorKind::{ConnectionReset, UnexpectedEof};
        return matches!(error.kind(), ConnectionReset | UnexpectedEof).then_some(HUNG_UP);
    };
    match inner.downcast_ref::<Error>()? {
        Error::InvalidCertificate(wrong) => Some(of_certificate(wrong)),
        Error::InvalidMessage(_) => Some(NO_TLS),
        Error::PeerIncompatible(_)
        | Error::AlertReceived(
            AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity
            | AlertDescription::ProtocolVersion,
        ) => Some(OLD),
        _ => certificate_refused(error),
    }
}

/// What an operator can do where the peer has refused our certificate, or its absence (RFC 8446 section 6.2);
/// nothing where it has not. Under TLS 1.3 we hear of it behind our end of the handshake, in place of
/// whatever was to come.
pub fn certificate_refused(error: &io::Error) -> Option<&'static str> {
    let Error::AlertReceived(alert) = error.get_ref()?.downcast_ref::<Error>()? else {
        return None;
    };
    match alert {
        AlertDescription::CertificateRequired => Some(NO_OWN),
        AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::UnsupportedCertificate => Some(OWN),
        _ => None,
    }
}

fn of_certificate(wrong: &CertificateError) -> &'static str {
    match wrong {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => DATES,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => NAME,
        CertificateError::BadSignature => SIGNATURE,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => OLD,
        _ => ISSUER,
    }
}

#[cfg(test)]
mod tests {
    use rustls::PeerIncompatible;

    use super::*;

    fn said(error: Error) -> Option<&'static str> {
        of_failed(&io::Error::other(error))
    }

    #[test]
    fn what_is_wrong_with_a_certificate_comes_with_what_to_set() {
        let issuer = said(CertificateError::UnknownIssuer.into()).unwrap();
        for key in ["`ca_file`", "`pin_sha256`", "`verify = false`"] {
            assert!(issuer.contains(key), "{issuer}");
        }
        assert!(said(CertificateError::Expired.into()).unwrap().contains("renew"));
        assert!(said(CertificateError::NotValidForName.into()).unwrap().contains("`address`"));
        assert_eq!(said(Error::General("the pinned one".into())), None);
        assert_eq!(of_failed(&io::ErrorKind::BrokenPipe.into()), None);
    }

    #[test]
    fn a_server_that_refuses_our_certificate_is_told_from_one_that_wants_one() {
        let said = |alert| said(Error::AlertReceived(alert));
        let required = AlertDescription::CertificateRequired;
        assert!(said(required).unwrap().contains("set `certificate`"));
        assert!(said(AlertDescription::UnknownCA).unwrap().contains("does not believe our"));
    }

    #[test]
    fn a_server_that_knows_only_old_tls_comes_with_how_to_reach_it() {
        for error in [
            Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
            Error::AlertReceived(AlertDescription::ProtocolVersion),
            Error::AlertReceived(AlertDescription::HandshakeFailure),
        ] {
            assert!(said(error).unwrap().contains("`tls_legacy = true`"));
        }
        assert_eq!(said(Error::AlertReceived(AlertDescription::InternalError)), None);
        // Dovecot closes without its alert, Windows resets.
        for kind in [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset] {
            assert!(of_failed(&kind.into()).unwrap().contains("`tls_legacy = true`"));
        }
    }
}
