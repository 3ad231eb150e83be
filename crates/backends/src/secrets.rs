//! With what we enter a back end: decided from its login mode, the directory's answer and what the
//! client offered.

use model::{Credentials, Proof, Reason, Route, UserName};
use proto::back::{How, Login, Whose};
use proto::sasl::TokenMechanism;

use crate::{LoginMode, Trusted};

const NO_PASSWORD: &str = "login = \"password\" needs the user's password in the directory";

/// Decides with what to log in.
///
/// # Errors
/// The reason why it cannot be. A master login is never made for somebody whose proof nobody has judged.
pub(crate) fn login(
    mode: &LoginMode,
    route: &Route,
    offered: &Credentials,
) -> Result<Login, (Reason, &'static str)> {
    match mode {
        LoginMode::Forward => {
            let how = forwarded(offered).ok_or((
                Reason::BackendLoginDisabled,
                "login = \"forward\" has nothing to forward where a certificate is the proof",
            ))?;
            Ok(Login { user: route.user.clone(), how, whose: Whose::Client })
        }
        LoginMode::Authzid { user, secret } => {
            proved(route, offered)?;
            let how = How::Authzid { authcid: user.clone(), secret: secret.clone() };
            Ok(Login { user: route.user.clone(), how, whose: Whose::Posthouse })
        }
        LoginMode::Master { user, separator, secret } => {
            proved(route, offered)?;
            let name = format!("{}{separator}{user}", route.user);
            let user = UserName::new(name)
                .map_err(|_| (Reason::DirectoryMisconfigured, "the master login is too long"))?;
            Ok(Login { user, how: How::Password(secret.clone()), whose: Whose::Posthouse })
        }
        LoginMode::Password => {
            proved(route, offered)?;
            let secret = route.secret.clone().filter(|secret| !secret.reveal().is_empty());
            let known = secret.ok_or((Reason::DirectoryMisconfigured, NO_PASSWORD))?;
            let how = How::Password(known);
            Ok(Login { user: route.user.clone(), how, whose: Whose::Directory })
        }
        LoginMode::Trusted(trusted) => {
            proved(route, offered)?;
            let how = match trusted {
                Trusted::Address { dummy } => How::Password(dummy.clone()),
                Trusted::Certificate => How::External,
            };
            Ok(Login { user: route.user.clone(), how, whose: Whose::Posthouse })
        }
    }
}

/// The client's own proof, if it can be shown to another.
fn forwarded(offered: &Credentials) -> Option<How> {
    match &offered.proof {
        Proof::Certificate | Proof::Scram(_) => None,
        Proof::Password(secret) => Some(How::Password(secret.clone())),
        Proof::Token(token) => {
            let mechanism = TokenMechanism::of(offered.mechanism)?;
            Some(How::Token { mechanism, token: token.clone() })
        }
    }
}

/// Where the back end lets in whom we name, the directory must have found the client's proof right.
fn proved(route: &Route, offered: &Credentials) -> Result<(), (Reason, &'static str)> {
    // A certificate has been verified in the TLS handshake.
    if route.judged || matches!(offered.proof, Proof::Certificate) {
        return Ok(());
    }
    Err((Reason::DirectoryMisconfigured, "nobody has judged the client's proof"))
}

#[cfg(test)]
mod tests {
    use model::{BackendName, Mechanism, Secret, Target, Token};

    use super::*;

    fn name(text: &str) -> UserName {
        UserName::new(text).unwrap()
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    fn route(password: Option<&str>) -> Route {
        Route {
            targets: vec![Target::backend(BackendName::new("a").unwrap())],
            user: name("there"),
            secret: password.map(secret),
            judged: true,
            stale: false,
        }
    }

    fn offered(password: &str) -> Credentials {
        let mechanism = Mechanism::Command;
        let proof = Proof::Password(secret(password));
        Credentials { mechanism, user: name("here"), proof }
    }

    fn password(login: Login) -> Secret {
        match login.how {
            How::Password(secret) => secret,
            other => panic!("{other:?} is no password"),
        }
    }

    fn master() -> LoginMode {
        let separator = "*".into();
        LoginMode::Master { user: name("root"), separator, secret: secret("key") }
    }

    #[test]
    fn forward_presents_the_client_s_own_secret_under_the_name_there() {
        let login = login(&LoginMode::Forward, &route(Some("other")), &offered("pw")).unwrap();
        assert_eq!(login.user, name("there"));
        assert_eq!(login.whose, Whose::Client);
        assert!(password(login).matches(&secret("pw")));
    }

    #[test]
    fn a_token_is_forwarded_by_its_mechanism_and_a_certificate_cannot_be() {
        let proof = Proof::Token(Token::new("t").unwrap());
        let mechanism = Mechanism::XOAuth2;
        let token = Credentials { mechanism, user: name("here"), proof };
        let forwarded = login(&LoginMode::Forward, &route(None), &token).unwrap();
        let mechanism = TokenMechanism::XOAuth2;
        assert!(matches!(forwarded.how, How::Token { mechanism: same, .. } if same == mechanism));
        assert!(login(&master(), &route(None), &token).is_ok());
        let certificate = Credentials { proof: Proof::Certificate, ..token };
        let refused = login(&LoginMode::Forward, &route(None), &certificate).unwrap_err().0;
        assert_eq!(refused, Reason::BackendLoginDisabled);
        assert!(login(&master(), &route(None), &certificate).is_ok());
    }

    #[test]
    fn master_presents_the_master_s_secret() {
        let login = login(&master(), &route(Some("pw")), &offered("pw")).unwrap();
        assert_eq!(login.user, name("there*root"));
        assert_eq!(login.whose, Whose::Posthouse);
        assert!(password(login).matches(&secret("key")));
    }

    fn modes_that_judge() -> [LoginMode; 5] {
        let (user, secret) = (name("root"), secret("key"));
        [
            master(),
            LoginMode::Authzid { user, secret: secret.clone() },
            LoginMode::Password,
            LoginMode::Trusted(Trusted::Address { dummy: secret }),
            LoginMode::Trusted(Trusted::Certificate),
        ]
    }

    #[test]
    fn no_mode_lets_anybody_in_whose_proof_nobody_has_judged() {
        for mode in modes_that_judge() {
            let route = Route { judged: false, ..route(Some("pw")) };
            let refused = login(&mode, &route, &offered("pw")).unwrap_err().0;
            assert_eq!(refused, Reason::DirectoryMisconfigured, "{mode:?}");
        }
    }

    #[test]
    fn who_has_shown_a_certificate_needs_no_password_but_where_it_is_what_we_log_in_by() {
        let mechanism = Mechanism::External;
        let shown = Credentials { mechanism, user: name("here"), proof: Proof::Certificate };
        for mode in modes_that_judge() {
            let entered = |known| login(&mode, &route(known), &shown);
            if matches!(mode, LoginMode::Password) {
                assert_eq!(entered(None).unwrap_err().0, Reason::DirectoryMisconfigured);
                assert_eq!(entered(Some("")).unwrap_err().0, Reason::DirectoryMisconfigured);
                assert!(password(entered(Some("pw")).unwrap()).matches(&secret("pw")));
            } else {
                assert!(entered(None).is_ok(), "{mode:?}");
            }
        }
    }

    #[test]
    fn trusted_by_certificate_sends_no_secret_and_says_as_whom_we_come() {
        let mode = LoginMode::Trusted(Trusted::Certificate);
        let login = login(&mode, &route(Some("pw")), &offered("pw")).unwrap();
        assert_eq!((login.user, login.whose), (name("there"), Whose::Posthouse));
        assert!(matches!(login.how, How::External));
    }

    #[test]
    fn authzid_presents_our_own_secret_on_behalf_of_the_name_there() {
        let mode = LoginMode::Authzid { user: name("root"), secret: secret("key") };
        let login = login(&mode, &route(Some("pw")), &offered("pw")).unwrap();
        assert_eq!((login.user, login.whose), (name("there"), Whose::Posthouse));
        assert!(matches!(login.how, How::Authzid { authcid, .. } if authcid == name("root")));
    }
}
