//! `[tokens]`: by what OAuth 2.0 tokens are judged here.

use std::{ops::Range, time::Duration};

use ::directory::{
    HttpServer, Url,
    tokens::{ClaimRules, ClientLogin, Issuer, KeyTimes, Remembering, TokenSettings},
};

use super::{
    refuse,
    secrets::{given_or_in_file, secret_file},
    trust::{self, Trust},
};
use crate::config::{
    Purpose,
    file::TokensTable,
    mistake::Mistake,
    read::{At, Field, Listed, Reader},
};

/// How long an issuer may take: a client waits for its login meanwhile.
const DEADLINE: Duration = Duration::from_secs(5);

/// The claim that names the user. Mail programs log in by address; `sub` is mostly a number that nobody knows.
const USER_CLAIM: &str = "email";

/// By how much clocks may differ.
const LEEWAY: Duration = Duration::from_secs(60);

/// More would let tokens in that their users think are long gone.
const LONGEST_LEEWAY: Duration = Duration::from_secs(600);

pub(super) fn tokens(
    field: &Field<TokensTable>,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<TokenSettings> {
    let at = field.given()?;
    let table = &at.value;
    let issuer = issuer(at, purpose, reader);
    let asks = table.introspection_url.given().is_some();
    let rules = rules(at, asks, reader);
    let default = Remembering::default();
    let most = table.remember_most.value().map(|most| usize::try_from(*most).unwrap_or(usize::MAX));
    Some(TokenSettings {
        rules,
        issuer: issuer?,
        deadline: positive(&table.deadline, DEADLINE, "nobody can answer in no time", reader),
        remembering: Remembering {
            time: table.remember_for.or(default.time),
            most: most.unwrap_or(default.most),
        },
    })
}

/// Who says which tokens are right.
fn issuer(at: &At<TokensTable>, purpose: Purpose, reader: &mut Reader<'_>) -> Option<Issuer> {
    let table = &at.value;
    let spans: Vec<Range<usize>> = [
        table.jwks_url.given().map(|at| &at.span),
        table.jwks_file.given().map(|at| &at.span),
        table.introspection_url.given().map(|at| &at.span),
    ]
    .into_iter()
    .flatten()
    .cloned()
    .collect();
    if let [first, second, ..] = spans.as_slice() {
        let title = "tokens are judged by one thing only";
        let mistake = Mistake::error(second, title).other(first, "this is another");
        reader.note(mistake.help("keep `jwks_url`, `jwks_file` or `introspection_url`"));
    }
    let absent = table.jwks_url.is_absent() && table.jwks_file.is_absent();
    if absent && table.introspection_url.is_absent() {
        let title = "nothing says by what tokens are judged";
        let help = "write jwks_url = \"https://...\", where the issuer's keys are (its `jwks_uri`), or \
                    introspection_url";
        reader.note(Mistake::error(&at.span, title).help(help));
    }
    if let Some(url) = table.introspection_url.given() {
        let because = "with introspection the issuer is asked of each token, and has no keys";
        refuse!(reader, table, [refresh, refresh_pause, stale_for], because);
        let login = client_login(table, purpose, reader);
        return Some(Issuer::Introspection { server: server(url, table, purpose, reader), login });
    }
    let because = "it belongs to `introspection_url`";
    refuse!(reader, table, [client_id, client_secret, client_secret_file], because);
    let times = times(table, reader);
    if let Some(url) = table.jwks_url.given() {
        return Some(Issuer::KeyServer(server(url, table, purpose, reader), times));
    }
    let file = table.jwks_file.given()?;
    let because = "the keys stand in a file";
    refuse!(reader, table, [ca_file, pin_sha256, certificate, key, deadline], because);
    if purpose.reads_files()
        && let Err(error) = std::fs::File::open(&file.value)
    {
        let title = format!("{} cannot be read: {error}", file.value.display());
        reader.note(Mistake::error(&file.span, title));
    }
    Some(Issuer::KeyFile(file.value.clone(), times))
}

fn server(
    url: &At<Url>,
    table: &TokensTable,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> HttpServer {
    if url.value.placeholders().next().is_some() {
        let title = "what is asked of the issuer is the same for every user";
        reader.note(Mistake::error(&url.span, title).help("write `{{` and `}}` for braces"));
    }
    let trust = Trust {
        ca_file: &table.ca_file,
        pin_sha256: &table.pin_sha256,
        certificate: &table.certificate,
        key: &table.key,
    };
    let (verify, certificate) = trust::of_server(url, &trust, purpose, reader);
    HttpServer { url: url.value.clone(), verify, certificate, fields: Vec::new() }
}

fn client_login(
    table: &TokensTable,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<ClientLogin> {
    let Some(id) = table.client_id.given() else {
        let because = "there is no `client_id` that it belongs to";
        refuse!(reader, table, [client_secret, client_secret_file], because);
        return None;
    };
    if table.client_secret.is_absent() && table.client_secret_file.is_absent() {
        let mistake = Mistake::error(&id.span, "this client has no secret");
        reader.note(mistake.help("write client_secret_file = \"FILE\""));
    }
    let secret = (&table.client_secret, &table.client_secret_file);
    let reads_file = purpose.reads_secret_of_source(secret.1);
    let secret = given_or_in_file("the client's secret", secret, reads_file, reader, secret_file)?;
    Some(ClientLogin { id: id.value.clone(), secret })
}

fn times(table: &TokensTable, reader: &mut Reader<'_>) -> KeyTimes {
    let default = KeyTimes::default();
    let no_pause = "with no pause anybody could have the issuer asked as often as he likes";
    let times = KeyTimes {
        refresh: positive(
            &table.refresh,
            default.refresh,
            "the issuer would be asked all the time",
            reader,
        ),
        pause: positive(&table.refresh_pause, default.pause, no_pause, reader),
        stale: table.stale_for.or(default.stale),
    };
    if times.stale < times.refresh {
        let given = [table.stale_for.given(), table.refresh.given()].into_iter().flatten().next();
        let title = "keys would count for less time than lies between two fetches";
        let mistake = Mistake::error(&given.map_or(0..0, |at| at.span.clone()), title);
        reader.note(mistake.help("make `stale_for` longer than `refresh`"));
    }
    times
}

/// A time that cannot be none.
fn positive(
    field: &Field<Duration>,
    default: Duration,
    none: &str,
    reader: &mut Reader<'_>,
) -> Duration {
    if let Some(given) = field.given().filter(|given| given.value.is_zero()) {
        reader.note(Mistake::error(&given.span, none));
    }
    field.or(default)
}

fn rules(at: &At<TokensTable>, asks: bool, reader: &mut Reader<'_>) -> ClaimRules {
    let table = &at.value;
    let texts = |field: &Field<Listed<String>>| -> Vec<String> {
        let listed = field.value().into_iter().flat_map(|listed| &listed.0);
        listed.map(|at| at.value.clone()).collect()
    };
    if !asks {
        // RFC 8725 sections 3.8 and 3.9.
        for (missing, key, why) in [
            (table.issuer.is_absent(), "issuer", "write what stands in their claim `iss`"),
            (table.audiences.is_absent(), "audience", "write what stands in their claim `aud`"),
        ] {
            if missing {
                let title = format!("tokens judged by keys need `{key}`");
                reader.note(Mistake::error(&at.span, title).help(why));
            }
        }
    } else if table.audiences.is_absent() && table.scopes.is_absent() {
        let title = "whatever the issuer gives a token for, it opens mailboxes";
        let help = "write audience = \"...\" or scope = \"...\", unless the issuer answers only of what is \
                    meant for us";
        reader.note(Mistake::warning(&at.span, title).help(help));
    }
    for given in [table.audiences.given(), table.scopes.given()].into_iter().flatten() {
        let is_void = |at: &At<String>| at.value.is_empty() || at.value.contains(' ');
        if given.value.0.is_empty() || given.value.0.iter().any(is_void) {
            let title = "each of these is one word, and there is at least one";
            reader.note(Mistake::error(&given.span, title));
        }
    }
    for given in [table.issuer.given(), table.user_claim.given()].into_iter().flatten() {
        if given.value.is_empty() {
            reader.note(Mistake::error(&given.span, "an empty text stands for nothing"));
        }
    }
    let leeway = table.leeway.or(LEEWAY);
    if let Some(given) = table.leeway.given().filter(|given| given.value > LONGEST_LEEWAY) {
        let title = "clocks do not differ by more than ten minutes";
        reader.note(Mistake::error(&given.span, title));
    }
    ClaimRules {
        issuer: table.issuer.value().cloned(),
        audiences: texts(&table.audiences),
        scopes: texts(&table.scopes),
        user: table.user_claim.or(USER_CLAIM.to_owned()),
        must_expire: !asks,
        leeway: leeway.as_secs(),
    }
}
