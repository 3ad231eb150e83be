//! `/api/v1`: which request is which act.

use std::sync::Arc;

use admin::{
    Desk, ExportUsers, Exported, Flush, Flushed, ImportRequest, Imported, Kick, Kicked, ListUsers,
    LookUp, LookedUp, PlaceUser, Placed, Refused, SessionFilter, ShownUser, Status, UserList, Why,
};
use axum::{
    Json, Router,
    body::Body,
    extract::{
        ConnectInfo, DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    response::IntoResponse,
    routing::{get, post},
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
        .route("/export/users", get(user_export))
        .route("/look-up/{user}", get(user_look_up))
        .route("/backends", get(backend_list))
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

async fn user_list(State(desk): Daemon, Asked(request): Asked<ListUsers>) -> Answer<UserList> {
    blocking(move || admin::user_list(desk.users()?, request)).await
}

async fn user_show(State(desk): Daemon, Named(user): Named) -> Answer<ShownUser> {
    blocking(move || admin::user_show(desk.users()?, &user)).await
}

async fn user_place(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Named(user): Named,
    Sent(request): Sent<PlaceUser>,
) -> Answer<Placed> {
    blocking(move || admin::user_place(desk.users()?, &actor, &user, request)).await
}

async fn user_remove(
    State(desk): Daemon,
    ConnectInfo(Peer(actor)): ConnectInfo<Peer>,
    Named(user): Named,
) -> Answer<Placed> {
    blocking(move || admin::user_remove(desk.users()?, &actor, &user)).await
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

async fn backend_list(State(desk): Daemon) -> Json<impl Serialize> {
    Json(admin::backend_list(&desk))
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
