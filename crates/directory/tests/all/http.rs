//! Servers that are asked by HTTP, the good and the bad ones.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use directory::{
    CacheSettings, Directory, HttpContract, HttpField, HttpMethod, HttpServer, HttpSettings, Query,
    SourceKind, SourceSettings, Unavailable, Verdict,
};
use model::{Proof, Protocol, Reason, Route, Secret, Token, UserName};
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};
use transport::{
    Duplex, Stream,
    tls::{CertificateFiles, ServerSettings, ServerTls, Verify, make_self_signed},
};

use super::{DEADLINE, backend, settings, source};

/// What a server does with a question.
#[derive(Clone, Debug)]
enum Act {
    /// It closes without a word.
    Close,
    /// It says this, a byte at a time, for as long as anybody listens.
    Drip(&'static str),
    /// It says nothing.
    Hang,
    Say(Vec<u8>),
    /// It says this and closes.
    SayLast(Vec<u8>),
}

/// A server that has been told what to do with each question, and hangs when it knows no more.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        Self::start_with(acts, None).await
    }

    async fn start_with(acts: impl IntoIterator<Item = Act>, tls: Option<Arc<ServerTls>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acts: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(acts.into_iter().collect()));
        let (asked, connections) =
            (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<usize>>::default());
        let (noted, counted) = (Arc::clone(&asked), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                *counted.lock().unwrap() += 1;
                let (acts, noted, tls) = (Arc::clone(&acts), Arc::clone(&noted), tls.clone());
                tokio::spawn(async move {
                    let mut stream = Stream::plain(tcp);
                    if let Some(tls) = tls
                        && stream.accept_tls(tls.config()).await.is_err()
                    {
                        return;
                    }
                    serve(Duplex::new(stream), &acts, &noted).await;
                });
            }
        });
        Self { address, asked, connections }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    acts: &Mutex<VecDeque<Act>>,
    asked: &Mutex<Vec<String>>,
) {
    while let Some(question) = question(&mut stream).await {
        asked.lock().unwrap().push(question);
        let act = acts.lock().unwrap().pop_front().unwrap_or(Act::Hang);
        match act {
            Act::Close => return,
            Act::Drip(text) => {
                for byte in text.bytes().cycle() {
                    if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Act::Hang => std::future::pending().await,
            // Whoever asked may have had enough of it.
            Act::Say(bytes) => drop(stream.write_all(&bytes).await),
            Act::SayLast(bytes) => {
                drop(stream.write_all(&bytes).await);
                drop(stream.shutdown().await);
                return;
            }
        }
        drop(stream.flush().await);
    }
}

/// One request, head and body.
async fn question(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
            if body.len() >= length {
                return Some(text);
            }
        }
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.ok().filter(|count| *count > 0)?;
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
}

/// An answer by nginx's contract.
fn fields(fields: &str) -> Act {
    Act::SayLast(format!("HTTP/1.0 200 OK\r\n{fields}\r\n\r\n").into_bytes())
}

/// An answer in JSON.
fn json(status: &str, body: &str) -> Act {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
    Act::Say([head.as_bytes(), body.as_bytes()].concat())
}

const NGINX: HttpContract = HttpContract::Nginx { external: false, judges: true };
const JSON: HttpContract = HttpContract::Json { method: HttpMethod::Post, judges: false };
const JUDGING: HttpContract = HttpContract::Json { method: HttpMethod::Post, judges: true };

struct Asking {
    directory: Directory,
    _folder: TempDir,
}

fn asking(url: &str, contract: HttpContract) -> HttpSettings {
    let server = HttpServer {
        url: url.parse().unwrap(),
        verify: Verify::default(),
        certificate: None,
        fields: Vec::new(),
    };
    HttpSettings { server, token: None, contract }
}

impl Asking {
    fn open(url: &str, contract: HttpContract) -> Self {
        Self::of(asking(url, contract))
    }

    /// Nothing is remembered, so that each question is asked.
    fn of(http: HttpSettings) -> Self {
        let zero = Duration::ZERO;
        let cache = CacheSettings {
            found: zero,
            not_found: zero,
            judged: zero,
            stale_for: zero,
            deadline: Duration::from_secs(2),
            ..CacheSettings::default()
        };
        Self::chained(SourceSettings { cache, ..source("http", SourceKind::Http(http)) })
    }

    fn chained(source: SourceSettings) -> Self {
        let folder = tempdir().unwrap();
        let template = Some(backend("a"));
        let settings = settings(folder.path(), vec![SourceSettings { template, ..source }]);
        Self { directory: Directory::open(settings).unwrap(), _folder: folder }
    }

    fn query(&self, user: &str) -> Query {
        let user = self.directory.canonical(&UserName::new(user).unwrap()).unwrap();
        let client_ip = Some("192.0.2.7".parse().unwrap());
        Query { client_ip, tls: true, ..Query::without_client(user, Protocol::Imap) }
    }

    async fn admit(&self, user: &str, password: &[u8]) -> Result<Verdict, Unavailable> {
        let proof = Proof::Password(Secret::new(password).unwrap());
        let query = self.query(user);
        timeout(DEADLINE, self.directory.admit(&query, &proof, 2)).await.unwrap()
    }

    async fn look_up(&self, user: &str) -> Result<Verdict, Unavailable> {
        timeout(DEADLINE, self.directory.look_up(&self.query(user))).await.unwrap()
    }
}

fn route(verdict: Result<Verdict, Unavailable>) -> Route {
    match verdict {
        Ok(Verdict::Admit(route)) => route,
        other => panic!("{other:?}"),
    }
}

fn refused(verdict: Result<Verdict, Unavailable>) -> (Option<u64>, Option<String>) {
    match verdict {
        Ok(Verdict::Refused(refused)) => {
            assert_eq!(refused.reason, Reason::WrongPassword);
            (refused.wait.map(|wait| wait.as_secs()), refused.text.map(Into::into))
        }
        other => panic!("{other:?}"),
    }
}

fn cannot_say(verdict: Result<Verdict, Unavailable>) -> (Reason, String) {
    let unavailable = verdict.unwrap_err();
    (unavailable.reason, unavailable.detail)
}

#[tokio::test]
async fn nginx_s_contract_is_spoken_as_nginx_does() {
    let server = Server::start([fields(
        "Auth-Status: OK\r\nAuth-Server: 127.0.0.1\r\nAuth-Port: 10143\r\nAuth-User: bob there\r\n\
         Auth-Pass: p%20w \u{e4}",
    )])
    .await;
    let asking = Asking::open(&server.url("/auth?x=1"), NGINX);
    let route = route(asking.admit("bob@example.org", b"pass %word\r\nX: y").await);
    assert!(route.judged);
    assert_eq!(route.targets[0].backend, backend("a"));
    assert_eq!(route.user.as_str(), "bob there");
    assert_eq!(route.secret.unwrap().reveal(), "p%20w \u{e4}".as_bytes());
    let asked = server.asked().remove(0);
    assert!(asked.starts_with("GET /auth?x=1 HTTP/1.0\r\n"), "{asked}");
    for line in [
        "auth-method: plain",
        "auth-user: bob@example.org",
        "auth-pass: pass%20%25word%0D%0AX:%20y",
        "auth-protocol: imap",
        "auth-login-attempt: 2",
        "client-ip: 192.0.2.7",
        "auth-ssl: on",
        "connection: close",
    ] {
        let is_there = asked.lines().any(|asked| {
            let (name, value) = asked.split_once(": ").unwrap_or((asked, ""));
            format!("{}: {value}", name.to_lowercase()) == line
        });
        assert!(is_there, "no {line} in {asked}");
    }
}

#[tokio::test]
async fn auth_server_may_be_the_name_of_a_back_end_or_of_a_host() {
    let server = Server::start([
        fields("Auth-Status: OK\r\nAuth-Server: b"),
        fields("Auth-Status: OK\r\nAuth-Server: b\r\nAuth-Port: 11143"),
        fields("Auth-Status: OK\r\nAuth-Server: b\r\nAuth-Port: 143"),
        fields("Auth-Status: OK\r\nAuth-Server: imap7.example.org\r\nAuth-Port: 1143"),
        fields("Auth-Status: OK\r\nAuth-Server: 2001:db8::1\r\nAuth-Port: 1143"),
        fields("Auth-Status: OK\r\nAuth-Server: unix:/run/imap"),
        fields("Auth-Status: OK"),
    ])
    .await;
    let asking = Asking::open(&server.url("/"), NGINX);
    for _ in 0..2 {
        let route = route(asking.admit("bob", b"x").await);
        assert_eq!((route.targets[0].backend.clone(), route.targets[0].port), (backend("b"), None));
    }
    let (reason, detail) = cannot_say(asking.admit("bob", b"x").await);
    assert_eq!(reason, Reason::DirectoryMisconfigured);
    assert!(detail.contains("11143"), "{detail}");
    for host in ["imap7.example.org", "2001:db8::1"] {
        let route = route(asking.admit("bob", b"x").await);
        let target = &route.targets[0];
        assert_eq!(target.host.as_ref().unwrap().to_string(), host);
        assert_eq!((target.backend.clone(), target.port), (backend("a"), Some(1143)));
    }
    for said in ["unix", "names no back end"] {
        let (reason, detail) = cannot_say(asking.admit("bob", b"x").await);
        assert_eq!(reason, Reason::DirectoryMisconfigured);
        assert!(detail.contains(said), "{detail}");
    }
}

#[tokio::test]
async fn a_server_of_nginx_s_contract_that_only_says_where_has_judged_nobody() {
    let server = Server::start([
        fields("Auth-Status: OK\r\nAuth-Server: a"),
        fields("Auth-Status: OK\r\nAuth-Server: a\r\nAuth-Pass: theirs"),
        fields("Auth-Status: No"),
    ])
    .await;
    let contract = HttpContract::Nginx { external: false, judges: false };
    let asking = Asking::open(&server.url("/"), contract);
    assert!(!route(asking.admit("bob", b"x").await).judged);
    let (reason, detail) = cannot_say(asking.admit("bob", b"x").await);
    assert_eq!(reason, Reason::DirectoryMisconfigured);
    assert!(detail.contains("judges = true"), "{detail}");
    refused(asking.admit("bob", b"x").await);
}

#[tokio::test]
async fn while_a_server_that_only_says_where_is_down_its_old_answers_lead_there_and_are_marked() {
    let server = Server::start([fields("Auth-Status: OK\r\nAuth-Server: a"), Act::Close]).await;
    let contract = HttpContract::Nginx { external: false, judges: false };
    let cache = CacheSettings { found: Duration::ZERO, ..CacheSettings::default() };
    let http = SourceKind::Http(asking(&server.url("/"), contract));
    let asking = Asking::chained(SourceSettings { cache, ..source("http", http) });
    assert!(!route(asking.admit("bob", b"x").await).stale);
    let old = route(asking.admit("bob", b"x").await);
    assert!(old.stale && old.targets[0].backend == backend("a"));
}

#[tokio::test]
async fn what_is_refused_by_nginx_s_contract_is_a_wrong_password_with_its_wait_and_text() {
    let server = Server::start([
        fields("Auth-Status: Invalid login or password\r\nAuth-Wait: 3"),
        fields("Auth-Status: No\r\nAuth-Error-Code: 535 5.7.8"),
        fields("Auth-Status: ok"),
    ])
    .await;
    let asking = Asking::open(&server.url("/"), NGINX);
    let said = refused(asking.admit("bob", b"x").await);
    assert_eq!(said, (Some(3), Some("Invalid login or password".to_owned())));
    assert_eq!(refused(asking.admit("bob", b"x").await), (None, Some("No".to_owned())));
    assert_eq!(refused(asking.admit("bob", b"x").await).0, None);
}

#[tokio::test]
async fn a_server_that_says_wait_is_asked_again() {
    let server = Server::start([
        fields("Auth-Status: WAIT\r\nAuth-Wait: 0"),
        fields("Auth-Status: OK\r\nAuth-Server: a\r\nAuth-Port: 10143"),
        fields("Auth-Status: WAIT\r\nAuth-Wait: 1000"),
    ])
    .await;
    let asking = Asking::open(&server.url("/"), NGINX);
    route(asking.admit("bob", b"x").await);
    assert_eq!(server.asked().len(), 2);
    let (reason, detail) = cannot_say(asking.admit("bob", b"x").await);
    assert_eq!(reason, Reason::DirectoryUnavailable);
    // It ends by itself: a source whose deadline passes is taken for dead, and this one is not.
    assert!(detail.contains("WAIT"), "{detail}");
    let figures = asking.directory.figures().remove(0).figures.unwrap();
    assert_eq!((figures.failed, figures.failing), (1, None));
}

#[tokio::test]
async fn without_a_password_nginx_s_contract_is_asked_only_where_that_is_set() {
    let server = Server::start([
        fields("Auth-Status: OK\r\nAuth-Server: a\r\nAuth-Port: 10143"),
        fields("Auth-Status: No such user"),
        fields("Auth-Status: No such user"),
    ])
    .await;
    let closed = Asking::open(&server.url("/"), NGINX);
    let (reason, detail) = cannot_say(closed.look_up("bob").await);
    assert_eq!(reason, Reason::DirectoryMisconfigured);
    assert!(detail.contains("external = true"), "{detail}");
    assert!(server.asked().is_empty());
    let open = Asking::open(&server.url("/"), HttpContract::Nginx { external: true, judges: true });
    let route = route(open.look_up("bob").await);
    assert!(!route.judged);
    let asked = server.asked().remove(0).to_lowercase();
    assert!(asked.contains("auth-method: external\r\n"), "{asked}");
    assert!(asked.contains("auth-pass: \r\n") || asked.contains("auth-pass:\r\n"), "{asked}");
    assert!(matches!(open.look_up("bob").await, Ok(Verdict::Refused(_))));
    // Whether it knows him it has not said.
    let at = timeout(DEADLINE, open.directory.whereabouts(&open.query("bob"))).await.unwrap();
    let at = at.unwrap();
    assert!(at.source.is_some() && at.cannot_say.is_some() && at.route.is_none(), "{at:?}");
}

#[tokio::test]
async fn an_answer_of_nginx_s_contract_that_is_none_is_never_a_wrong_password() {
    let long = "x".repeat(1 << 20);
    let status = |status: &str| {
        Act::SayLast(format!("HTTP/1.1 {status}\r\nAuth-Status: Invalid\r\n\r\n").into_bytes())
    };
    let ok = |rest: &str| fields(&format!("Auth-Status: OK\r\nAuth-Server: 127.0.0.1\r\n{rest}"));
    let (down, wrong) = (Reason::DirectoryUnavailable, Reason::DirectoryMisconfigured);
    let table = [
        (status("500 Oops"), down, "status 500"),
        (status("503 Busy"), down, "status 503"),
        (status("429 Slow down"), down, "status 429"),
        (status("404 Not Found"), wrong, "status 404"),
        (status("401 No"), wrong, "status 401"),
        (status("302 Found\r\nLocation: http://127.0.0.1:1/"), wrong, "no redirection"),
        (
            fields("Auth-Status: Temporary server problem\r\nAuth-Error-Code: 451 4.3.0"),
            down,
            "cannot say now",
        ),
        (fields("X: y"), wrong, "no `Auth-Status`"),
        (fields("Auth-Status: "), wrong, "no `Auth-Status`"),
        (fields("Auth-Status: OK\r\nAuth-Status: No"), wrong, "several times"),
        (ok("Auth-Port: 0"), wrong, "`Auth-Port`"),
        (ok("Auth-Port: 70000"), wrong, "`Auth-Port`"),
        (ok("Auth-Port: imap"), wrong, "`Auth-Port`"),
        (ok("Auth-Port: 10143\r\nAuth-Server: b"), wrong, "`Auth-Server` is there several times"),
        (ok("Auth-Port: 10143\r\nAuth-Wait: soon"), wrong, "`Auth-Wait`"),
        (ok("Auth-Port: 10143\r\nAuth-User: a\tb"), wrong, "`user`"),
        (ok("Auth-Port: 10143\r\nAuth-Pass: a\tb"), wrong, "`password` holds a control"),
        (ok("Auth-Port: 10143\r\nAuth-User: a\0b"), wrong, "no answer of HTTP"),
        (fields("Auth-Status: OK\r\nAuth-Server: a b"), wrong, "`host` is none"),
        (ok(&format!("Auth-User: {}", &long[..10_000])), wrong, "10000 bytes"),
        (ok(&format!("Auth-User: {long}")), wrong, "no answer of HTTP"),
        (ok(&"X: y\r\n".repeat(200)), wrong, "no answer of HTTP"),
        (Act::SayLast(b"* OK IMAP4rev1 ready\r\n\r\n".to_vec()), wrong, "no answer of HTTP"),
        (Act::SayLast(b"HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-".to_vec()), down, "closed"),
        (Act::SayLast(vec![0; 100]), wrong, "no answer of HTTP"),
        (Act::Close, down, "closed without an answer"),
        (Act::Hang, down, "no answer within"),
        (Act::Drip("HTTP/1.1 200 OK\r\n"), down, "no answer within"),
    ];
    let server = Server::start(table.iter().map(|(act, ..)| act.clone())).await;
    let asking = Asking::open(&server.url("/"), NGINX);
    for (act, reason, words) in table {
        let (seen, detail) = cannot_say(asking.admit("bob", b"x").await);
        assert_eq!(seen, reason, "{act:?}: {detail}");
        assert!(detail.contains(words) && detail.len() < 400, "{detail} for {words}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_at_the_start_is_asked_when_it_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let asking = Asking::open(&format!("http://{address}/"), JSON);
    let (reason, detail) = cannot_say(asking.look_up("bob").await);
    assert_eq!(reason, Reason::DirectoryUnavailable);
    assert!(detail.contains(&address.to_string()), "{detail}");
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        question(&mut tcp).await.unwrap();
        let Act::Say(answer) = json("200 OK", r#"{"backend": "a"}"#) else { return };
        tcp.write_all(&answer).await.unwrap();
    });
    route(asking.look_up("bob").await);
}

#[tokio::test]
async fn json_says_where_a_user_is_and_all_else_that_sources_say() {
    let server = Server::start([
        json(
            "200 OK",
            r#"{"backend": "a", "user": "bob there", "password": "pw", "id": 17, "new": {}}"#,
        ),
        json("200 OK", r#"{"host": "imap7.example.org", "port": 1143}"#),
        json("200 OK", r#"{"backend": ["a", "b"]}"#),
        json("200 OK", r#"{"backend": "a", "disabled": true}"#),
        json("404 Not Found", "<html>nobody</html>"),
    ])
    .await;
    let mut http = asking(&server.url("/route"), JSON);
    http.token = Some(Token::new("t0ken").unwrap());
    http.server.fields = vec![HttpField::new("X-Site", &Secret::new("north").unwrap()).unwrap()];
    let asking = Asking::of(http);
    let first = route(asking.look_up("bob@example.org").await);
    assert_eq!((first.targets[0].backend.clone(), first.judged), (backend("a"), false));
    assert_eq!(first.user.as_str(), "bob there");
    assert_eq!(first.secret.unwrap().reveal(), b"pw");
    let asked = server.asked().remove(0);
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    assert!(head.starts_with("post /route http/1.1\r\n"), "{head}");
    for line in ["authorization: bearer t0ken", "x-site: north", "content-type: application/json"] {
        assert!(head.lines().any(|seen| seen == line), "no {line} in {head}");
    }
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let expected = serde_json::json!({
        "user": "bob@example.org", "local": "bob", "domain": "example.org", "key": "bob@example.org",
        "protocol": "imap", "client_ip": "192.0.2.7", "server_ip": "", "server_name": "", "tls": true,
    });
    assert_eq!(body, expected);
    let second = route(asking.look_up("bob").await);
    assert_eq!(second.targets[0].port, Some(1143));
    assert_eq!(route(asking.look_up("bob").await).targets.len(), 2);
    let disabled = asking.admit("bob", b"x").await.unwrap();
    let Verdict::Refused(disabled) = disabled else { panic!("{disabled:?}") };
    assert_eq!(disabled.reason, Reason::UserDisabled);
    assert!(matches!(asking.look_up("bob").await, Ok(Verdict::Unknown)));
    assert_eq!(server.connections(), 1, "one connection serves all");
}

#[tokio::test]
async fn a_server_that_judges_is_given_the_password_and_believed() {
    let server = Server::start([
        json("200 OK", r#"{"backend": "a"}"#),
        json("403 Forbidden", r#"{"wait": 5, "text": "Too often"}"#),
        json("401 Unauthorized", "no JSON"),
        json("200 OK", r#"{"backend": "a"}"#),
    ])
    .await;
    let asking = Asking::open(&server.url("/"), JUDGING);
    assert!(route(asking.admit("bob", "p\u{e4}ss\"".as_bytes()).await).judged);
    let asked = server.asked().remove(0);
    let body: serde_json::Value =
        serde_json::from_str(asked.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&body["password"], &body["attempt"]), (&"p\u{e4}ss\"".into(), &2.into()));
    assert_eq!(refused(asking.admit("bob", b"x").await), (Some(5), Some("Too often".to_owned())));
    assert_eq!(refused(asking.admit("bob", b"x").await), (None, None));
    assert!(!route(asking.look_up("bob").await).judged);
    assert!(!server.asked()[3].contains("\"password\""));
    let (reason, _) = cannot_say(asking.admit("bob", b"\xff").await);
    assert_eq!(reason, Reason::DirectoryMisconfigured);
}

#[tokio::test]
async fn a_server_that_refuses_us_refuses_no_user() {
    let unauthorized = || json("401 Unauthorized", "{}");
    let server = Server::start([unauthorized(), json("403 Forbidden", "{}"), unauthorized()]).await;
    let asking_only = Asking::open(&server.url("/"), JSON);
    for _ in 0..2 {
        let (reason, detail) = cannot_say(asking_only.admit("bob", b"x").await);
        assert_eq!(reason, Reason::DirectoryUnavailable, "{detail}");
    }
    let mut with_token = asking(&server.url("/"), JUDGING);
    with_token.token = Some(Token::new("old").unwrap());
    let (reason, detail) = cannot_say(Asking::of(with_token).admit("bob", b"x").await);
    assert_eq!(reason, Reason::DirectoryUnavailable);
    assert!(detail.contains("token"), "{detail}");
}

#[tokio::test]
async fn json_that_is_none_or_of_no_use_says_nothing() {
    let long = format!(r#"{{"backend": "{}"}}"#, "a".repeat(1 << 20));
    let deep = "[".repeat(20_000);
    let (down, wrong) = (Reason::DirectoryUnavailable, Reason::DirectoryMisconfigured);
    let table = [
        (json("200 OK", "hunter2"), wrong, "not JSON, at line 1"),
        (json("200 OK", "[]"), wrong, "not an object"),
        (json("200 OK", "{}"), wrong, "names no back end"),
        (json("200 OK", r#"{"backend": 7}"#), wrong, "`backend` is a number"),
        (json("200 OK", r#"{"backend": ["a", 7]}"#), wrong, "`backend` is a list"),
        (json("200 OK", r#"{"backend": {}}"#), wrong, "`backend` is an object"),
        (json("200 OK", r#"{"backend": "a\r\nX"}"#), wrong, "`backend` holds a line end"),
        (json("200 OK", r#"{"backend": "a", "user": "a\u0000b"}"#), wrong, "`user` holds"),
        (json("200 OK", r#"{"backend": "a", "password": "a\u0007"}"#), wrong, "`password` holds"),
        (json("200 OK", r#"{"backend": "a", "disabled": "perhaps"}"#), wrong, "`disabled`"),
        (json("200 OK", r#"{"host": "a", "port": 1.5}"#), wrong, "`port` is a fraction"),
        (json("200 OK", &long), wrong, "longer than"),
        (json("200 OK", &deep), wrong, "not JSON"),
        (json("204 No Content", ""), wrong, "status 204"),
        (json("301 Moved", "{}"), wrong, "no redirection"),
        (json("400 Bad", "{}"), wrong, "status 400"),
        (json("429 Slow", "{}"), down, "status 429"),
        (json("503 Busy", "{}"), down, "status 503"),
        (
            Act::SayLast(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{".to_vec()),
            down,
            "broke off",
        ),
        (
            Act::SayLast(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec()),
            down,
            "broke off",
        ),
        (Act::Drip("HTTP/1.1 200 OK\r\n"), down, "no answer within"),
    ];
    let server = Server::start(table.iter().map(|(act, ..)| act.clone())).await;
    let asking = Asking::open(&server.url("/"), JSON);
    for (act, reason, words) in table {
        let (seen, detail) = cannot_say(asking.look_up("bob").await);
        assert_eq!(seen, reason, "{act:?}: {detail}");
        assert!(detail.contains(words) && detail.len() < 400, "{detail} for {words}");
        assert!(!detail.contains("hunter2"), "{detail}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_server_gave_up_costs_nobody_his_answer() {
    let Act::Say(found) = json("200 OK", r#"{"backend": "a"}"#) else { panic!() };
    let acts = [Act::Say(found.clone()), Act::Close, Act::Say(found)];
    let server = Server::start(acts).await;
    let asking = Asking::open(&server.url("/"), JSON);
    route(asking.look_up("bob").await);
    route(asking.look_up("bob").await);
    assert_eq!((server.asked().len(), server.connections()), (3, 2));
}

#[tokio::test]
async fn a_server_that_hangs_holds_nobody_longer_than_the_deadline() {
    let server = Server::start([]).await;
    let asking = Asking::open(&server.url("/"), JSON);
    let since = Instant::now();
    let (first, second) = tokio::join!(asking.look_up("bob"), asking.look_up("eve"));
    for verdict in [first, second] {
        assert_eq!(cannot_say(verdict).0, Reason::DirectoryUnavailable);
    }
    assert!(since.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn an_address_names_the_user_without_being_changed_by_him() {
    let found = || json("200 OK", r#"{"backend": "a"}"#);
    let server = Server::start([found(), found()]).await;
    let get = HttpContract::Json { method: HttpMethod::Get, judges: false };
    let asking = Asking::open(&server.url("/users/{user}?p={protocol}"), get);
    route(asking.look_up("../admin?x=1&y#z").await);
    route(asking.look_up("b\u{e4}r@example.org").await);
    let asked = server.asked();
    assert!(asked[0].starts_with("GET /users/..%2Fadmin%3Fx%3D1%26y%23z?p=imap HTTP/1.1\r\n"));
    assert!(asked[1].starts_with("GET /users/b%C3%A4r%40example.org?p=imap HTTP/1.1\r\n"));
}

/// A server with a certificate for `localhost` that it signed itself.
fn secured(folder: &TempDir) -> (CertificateFiles, Arc<ServerTls>) {
    let files = CertificateFiles {
        certificate: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    make_self_signed(&files).unwrap();
    let certificates = vec![files.clone()];
    let settings = ServerSettings { certificates, protocol: Protocol::Imap, clients: None };
    (files, ServerTls::load(settings).unwrap())
}

#[tokio::test]
async fn a_server_with_tls_has_to_be_the_right_one() {
    let folder = tempdir().unwrap();
    let (files, tls) = secured(&folder);
    let found = || json("200 OK", r#"{"backend": "a"}"#);
    let server = Server::start_with([found(), found()], Some(tls)).await;
    let url = format!("https://localhost:{}/", server.address.port());
    let judged_by = |verify| {
        let mut http = asking(&url, JSON);
        http.server.verify = verify;
        Asking::of(http)
    };
    let trusting = judged_by(Verify::Roots { file: Some(files.certificate) });
    route(trusting.look_up("bob").await);
    route(trusting.look_up("eve").await);
    assert_eq!(server.connections(), 1);
    let doubting = judged_by(Verify::Pins(vec![[7; 32]]));
    let (reason, detail) = cannot_say(doubting.look_up("bob").await);
    assert_eq!(reason, Reason::DirectoryUnavailable);
    assert!(detail.contains("pinned"), "{detail}");
    assert_eq!(server.asked().len(), 2, "nothing is asked before the certificate is judged");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn whatever_bytes_are_answered_nobody_is_refused_or_unknown_by_them(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        nginx: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start([Act::SayLast(bytes)]).await;
            let asking = Asking::open(&server.url("/"), if nginx { NGINX } else { JUDGING });
            cannot_say(asking.admit("bob", b"x").await);
        });
    }
}
