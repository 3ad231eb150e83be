//! With what we enter a back end: decided from its login mode, the directory's answer and what the
//! client offered.

use model::{Credentials, Reason, Route, UserName};
use proto::back::{Login, Whose};

use crate::LoginMode;

/// Decides with what to log in.
///
/// # Errors
/// The reason why it cannot be: a wrong password where we judge it, or nothing to judge it by. A master
/// login is never made for somebody who has not shown the user's own password.
pub(crate) fn login(
    mode: &LoginMode,
    route: &Route,
    offered: &Credentials,
) -> Result<Login, (Reason, &'static str)> {
    match mode {
        LoginMode::Forward => Ok(Login {
            user: route.user.clone(),
            secret: offered.secret.clone(),
            whose: Whose::Client,
        }),
        LoginMode::Master { user, separator, secret } => {
            let Some(known) = &route.secret else {
                return Err((
                    Reason::DirectoryMisconfigured,
                    "login = \"master\" needs the user's password in the directory",
                ));
            };
            if !known.matches(&offered.secret) {
                return Err((Reason::WrongPassword, "not the password in the directory"));
            }
            let name = format!("{}{separator}{user}", route.user);
            let user = UserName::new(name)
                .map_err(|_| (Reason::DirectoryMisconfigured, "the master login is too long"))?;
            Ok(Login { user, secret: secret.clone(), whose: Whose::Posthouse })
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{BackendName, Mechanism, Secret, Target};

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
        }
    }

    fn offered(password: &str) -> Credentials {
        let mechanism = Mechanism::Command;
        Credentials { mechanism, user: name("here"), secret: secret(password) }
    }

    fn master() -> LoginMode {
        let separator = "*".into();
        LoginMode::Master { user: name("root"), separator, secret: secret("key") }
    }

    #[test]
    fn forward_presents_the_client_s_own_secret_under_the_name_there() {
        let login = login(&LoginMode::Forward, &route(Some("other")), &offered("pw")).unwrap();
        assert_eq!(login.user, name("there"));
        assert!(login.secret.matches(&secret("pw")));
        assert_eq!(login.whose, Whose::Client);
    }

    #[test]
    fn master_presents_the_master_s_secret_only_for_the_right_password() {
        let login = login(&master(), &route(Some("pw")), &offered("pw")).unwrap();
        assert_eq!(login.user, name("there*root"));
        assert!(login.secret.matches(&secret("key")));
        assert_eq!(login.whose, Whose::Posthouse);
    }

    #[test]
    fn master_lets_nobody_in_without_the_user_s_password() {
        let refused = |route: Route, password: &str| {
            login(&master(), &route, &offered(password)).unwrap_err().0
        };
        assert_eq!(refused(route(Some("pw")), "wrong"), Reason::WrongPassword);
        assert_eq!(refused(route(Some("pw")), ""), Reason::WrongPassword);
        assert_eq!(refused(route(None), ""), Reason::DirectoryMisconfigured);
    }
}
