//! `/api/v1`: which request is which act.

use std::sync::Arc;

use admin::{
    AddedBackend, AlsoKick, BackendLine, Desk, ExportUsers, Exported, Flush, Flushed, HistoryLine,
    Hold, HoldList, ImportRequest, Imported, Kick, Kicked, ListPage, LookUp, LookedUp, MailboxList,
    PlaceShards, PlaceUser, Placed, PlacedShards, PoolLine, Refused, RemoveUser, RenameUser,
    RenamedUser, SessionFilter, ShardLine, ShownUser, Status, Switched, UserList, WhichPool, Why,
};
use axum::{
    Json, Router,
    body::Body,
    extract::{
        ConnectInfo, DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    response::IntoResponse,
    routing::{get, post, put},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Peer,
    answer::{Answer, Refusal, blocking},
    body::BodyReader,
};

/// The longest JSON that is taken, in bytes: a name, a place and a password with room to spare.
const MAX_JSON: usize = 64 * 1024;

pub(crate) fn router(desk: Arc<Desk>) -> Router {
    let acts = Router::new()
        .route("/status", get(status))
        .route("/users", get(user_list))
        .route("/users/{user}", get(user_show).put(user_place).delete(user_remove))
        .route("/users/{user}/history", get(user_history))
        .route("/users/{user}/rename", post(user_rename))
        .route("/mailboxes", get(mailbox_list))
        .route("/export/users", get(user_export))
        .route("/look-up/{user}", get(user_look_up))
        .route("/backends", get(backend_list))
        .route("/pools", get(pool_list))
        .route("/members/{backend}", post(backend_add))
        .route("/drained/{backend}", put(backend_drain).delete(backend_enable))
        .route("/shards", get(shard_list))
        .route("/shards/place", post(shard_place))
        .route("/holds", get(hold_list))
        .route("/holds/users/{user}", put(user_hold).delete(user_release))
        .route("/holds/backends/{backend}", put(backend_hold).delete(backend_release))
        .route("/sources", get(source_list))
        .route("/cache/flush", post(cache_flush))
        .route("/sessions", get(session_list))
        .route("/sessions/kick", post(session_kick))
        .layer(DefaultBodyLimit::max(MAX_JSON));
    // Streamed, and as long as it is.
    let import = Router::new().route("/import/users", post(user_import));
    Router::new()
        .nest("/api/v1", acts.merge(import))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .with_state(desk)
}

type Daemon = State<Arc<Desk>>;

async fn status(State(desk): Daemon) -> Json<Status> {
    Json(admin::status(&desk))
}

async fn user_list(State(desk): Daemon, Asked(request): Asked<ListPage>) -> Answer<UserList> {
    blocking(move || admin::user_list(desk.users()?, request)).await
}

async fn user_show(State(desk): Daemon, Named(user): Named) -> Answer<ShownUser> {
    // What the table says is shown also while another source cannot say anything.
    let at = admin::whereabouts(&desk.directory, &user).await;
    let shown = move || admin::user_show(&desk.directory, desk.users.as_ref(), &user, at);
    blocking(shown).await
}

async fn user_history(State(desk): Daemon, Named(user): Named) -> Answer<Vec<HistoryLine>> {
    blocking(move || admin::user_history(&desk.directory, &user)).await
}

async fn user_place(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Named(user): Named,
    Sent(request): Sent<PlaceUser>,
) -> Answer<Placed> {
    let at = admin::whereabouts(&desk.directory, &user).await?;
    let at_source = admin::user_place_at_source(&desk.directory, &actor, &at, &request);
    if let Some(placed) = at_source.await? {
        return Ok(Json(placed));
    }
    let place =
        move || admin::user_place(&desk.directory, desk.users.as_ref(), &actor, &at, request);
    blocking(place).await
}

async fn user_rename(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Named(user): Named,
    Sent(request): Sent<RenameUser>,
) -> Answer<RenamedUser> {
    let renaming = admin::renaming(&desk.directory, &user, &request).await?;
    blocking(move || admin::user_rename(&desk.directory, &actor, &renaming)).await
}

async fn mailbox_list(State(desk): Daemon, Asked(request): Asked<ListPage>) -> Answer<MailboxList> {
    blocking(move || admin::mailbox_list(&desk.directory, request)).await
}

async fn pool_list(State(desk): Daemon) -> Answer<Vec<PoolLine>> {
    blocking(move || admin::pool_list(&desk.directory)).await
}

async fn backend_add(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Named(backend): Named,
    Sent(which): Sent<WhichPool>,
) -> Answer<AddedBackend> {
    blocking(move || admin::backend_add(&desk.directory, &actor, &backend, which)).await
}

async fn backend_drain(
    desk: Daemon,
    peer: ConnectInfo<Peer>,
    Named(name): Named,
) -> Answer<Switched> {
    set_drained(desk, peer, name, true).await
}

async fn backend_enable(
    desk: Daemon,
    peer: ConnectInfo<Peer>,
    Named(name): Named,
) -> Answer<Switched> {
    set_drained(desk, peer, name, false).await
}

async fn set_drained(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    name: String,
    drained: bool,
) -> Answer<Switched> {
    blocking(move || admin::backend_drain(&desk.directory, &actor, &name, drained)).await
}

async fn shard_list(State(desk): Daemon, Asked(which): Asked<WhichPool>) -> Answer<Vec<ShardLine>> {
    blocking(move || admin::shard_list(&desk.directory, which)).await
}

async fn shard_place(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Sent(request): Sent<PlaceShards>,
) -> Answer<PlacedShards> {
    blocking(move || admin::shard_place(&desk.directory, &actor, request)).await
}

async fn hold_list(State(desk): Daemon) -> Answer<HoldList> {
    blocking(move || admin::hold_list(&desk.directory)).await
}

async fn user_hold(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Named(name): Named,
    Sent(also): Sent<AlsoKick>,
) -> Answer<Switched> {
    let sessions = Arc::clone(desk.proxy.sessions());
    let at = Hold::User(&name).whereabouts(&desk.directory).await;
    blocking(move || {
        let hold = Hold::User(&name);
        admin::hold(&desk.directory, Some(&sessions), &actor, hold, at.as_ref(), also)
    })
    .await
}

async fn user_release(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Named(name): Named,
) -> Answer<Switched> {
    blocking(move || admin::release(&desk.directory, &actor, Hold::User(&name))).await
}

async fn backend_hold(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Named(name): Named,
    Sent(also): Sent<AlsoKick>,
) -> Answer<Switched> {
    let sessions = Arc::clone(desk.proxy.sessions());
    blocking(move || {
        let hold = Hold::Backend(&name);
        admin::hold(&desk.directory, Some(&sessions), &actor, hold, None, also)
    })
    .await
}

async fn backend_release(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Named(name): Named,
) -> Answer<Switched> {
    blocking(move || admin::release(&desk.directory, &actor, Hold::Backend(&name))).await
}

async fn user_remove(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Named(user): Named,
    Asked(remove): Asked<RemoveUser>,
) -> Answer<Placed> {
    let removal = admin::removal(&desk.directory, &user, remove).await?;
    blocking(move || admin::user_remove(desk.users()?, &actor, &removal)).await
}

async fn user_import(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Asked(request): Asked<ImportRequest>,
    body: Body,
) -> Answer<Imported> {
    let mut body = BodyReader::new(body);
    blocking(move || admin::user_import(desk.users()?, &actor, request, &mut body, &mut |_| {}))
        .await
}

async fn user_export(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Asked(request): Asked<ExportUsers>,
) -> Answer<Exported> {
    blocking(move || admin::user_export(desk.users()?, &actor, request)).await
}

async fn user_look_up(
    State(desk): Daemon,
    Named(user): Named,
    Asked(request): Asked<LookUp>,
) -> Answer<LookedUp> {
    Ok(Json(admin::user_look_up(&desk.directory, &user, &request).await?))
}

async fn backend_list(State(desk): Daemon) -> Answer<Vec<BackendLine>> {
    blocking(move || Ok(admin::backend_list(&desk))).await
}

async fn source_list(State(desk): Daemon) -> Json<impl Serialize> {
    Json(admin::source_list(&desk))
}

async fn cache_flush(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Sent(flush): Sent<Flush>,
) -> Answer<Flushed> {
    Ok(Json(admin::cache_flush(&desk, &actor, &flush)?))
}

async fn session_list(
    State(desk): Daemon,
    Asked(filter): Asked<SessionFilter>,
) -> Answer<impl Serialize> {
    Ok(Json(admin::session_list(&desk, filter)?))
}

async fn session_kick(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Sent(kick): Sent<Kick>,
) -> Answer<Kicked> {
    Ok(Json(admin::session_kick(&desk, &actor, &kick)?))
}

async fn nothing_here(request: Request) -> impl IntoResponse {
    let message = format!("there is nothing at {}", request.uri().path());
    Refusal::from(Refused::new(Why::NotFound, message))
}

async fn not_so(request: Request) -> impl IntoResponse {
    let message = format!("{} cannot be {}", request.uri().path(), request.method());
    Refusal::from(Refused::invalid(message))
}

/// A JSON body.
struct Sent<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let Json(sent) = Json::from_request(request, state)
            .await
            .map_err(|error: JsonRejection| Refused::invalid(error.body_text()))?;
        Ok(Self(sent))
    }
}

/// A query.
struct Asked<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, Refusal> {
        let Query(asked) = Query::from_request_parts(parts, state)
            .await
            .map_err(|error: QueryRejection| Refused::invalid(error.body_text()))?;
        Ok(Self(asked))
    }
}

/// The name in a path.
struct Named(String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, Refusal> {
        let Path(name) = Path::from_request_parts(parts, state)
            .await
            .map_err(|error: PathRejection| Refused::invalid(error.body_text()))?;
        Ok(Self(name))
    }
}
