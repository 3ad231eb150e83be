//! The modern form: a question in JSON or in the address, an answer in JSON.
//!
//! Nothing here follows a link or reads more of an answer than the fields that every source has.

use std::{str, time::Duration};

use hyper::{
    Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};
use serde_json::{Map, Value as Json, value::Value::Object};
use zeroize::Zeroizing;

use super::{Http, HttpMethod};
use crate::{
    Placeholder,
    http::{Ask, Keeping, cannot_say},
    sources::{
        CannotSay, Found, Question, Said,
        fields::{Fields, Value},
    },
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Http {
    pub(super) async fn ask_json(
        &self,
        question: Question,
        method: HttpMethod,
        judges: bool,
    ) -> Result<Said, CannotSay> {
        let offered = question.offer.is_some() && judges;
        let mut fields: Vec<_> = self.authorization().into_iter().collect();
        fields.push((ACCEPT, JSON));
        let (method, body) = match method {
            HttpMethod::Get => (Method::GET, Zeroizing::default()),
            HttpMethod::Post => {
                fields.push((CONTENT_TYPE, JSON));
                (Method::POST, asked(&question, offered)?)
            }
        };
        let target = self.target(&question);
        let ask = Ask { method, target, fields, body, keeping: Keeping::WhileIdle };
        let answered = self.client.ask(ask).await?;
        match answered.status {
            StatusCode::OK => {
                let found = found(&answered.body)?;
                Ok(Said::Found(Found { judged: offered, ..found }))
            }
            StatusCode::NOT_FOUND => Ok(Said::Unknown),
            StatusCode::FORBIDDEN if offered => Ok(refused(&answered.body)),
            // Where we show a token, it may be what the server does not like.
            StatusCode::UNAUTHORIZED if offered && self.token.is_none() => {
                Ok(refused(&answered.body))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(CannotSay::unavailable(
                "it refuses us: is the token, or the key, the right one?",
            )),
            status => Err(cannot_say(status)),
        }
    }
}

/// The question as an object: what is known, and the password where it is to be judged.
fn asked(question: &Question, offered: bool) -> Result<Zeroizing<Vec<u8>>, CannotSay> {
    let mut object = Map::new();
    for placeholder in Placeholder::ALL {
        let value = match placeholder {
            Placeholder::Tls => Json::Bool(question.query.tls),
            _ => question.query.value(placeholder, &question.key).into_owned().into(),
        };
        object.insert(placeholder.word().to_owned(), value);
    }
    if let Some(offer) = question.offer.as_ref().filter(|_| offered) {
        let password = str::from_utf8(offer.password.reveal()).map_err(|_| {
            CannotSay::misconfigured("a password that is not UTF-8 cannot be sent as JSON")
        })?;
        object.insert("password".to_owned(), password.into());
        object.insert("attempt".to_owned(), offer.attempt.into());
    }
    let bytes = serde_json::to_vec(&object).map_err(CannotSay::misconfigured)?;
    Ok(Zeroizing::new(bytes))
}

/// What the server says of a user. What we have no use for is left alone.
fn found(body: &[u8]) -> Result<Found, CannotSay> {
    let said: Json = serde_json::from_slice(body).map_err(|error| {
        // Its message could repeat what stands there.
        let (line, column) = (error.line(), error.column());
        CannotSay::misconfigured(format_args!(
            "the answer is not JSON, at line {line}, column {column}"
        ))
    })?;
    let Object(said) = said else {
        return Err(CannotSay::misconfigured("the answer is JSON, but not an object"));
    };
    let mut fields = Fields::default();
    for name in Fields::NAMES {
        match said.get(name) {
            None => {}
            Some(Json::Array(listed)) if name == "backend" => {
                let texts: Option<Vec<_>> = listed.iter().map(Json::as_str).collect();
                let told = || CannotSay::misconfigured("`backend` is a list of other than texts");
                fields.set(name, Value::Text(&texts.ok_or_else(told)?.join(",")))?;
            }
            Some(value) => fields.set(name, plain(value))?,
        }
    }
    fields.into_found()
}

fn plain(value: &Json) -> Value<'_> {
    match value {
        Json::Null => Value::Null,
        Json::Bool(yes) => Value::Boolean(*yes),
        Json::Number(number) => number.as_i64().map_or(Value::Other("a fraction"), Value::Integer),
        Json::String(text) => Value::Text(text),
        Json::Array(_) => Value::Other("a list"),
        Object(_) => Value::Other("an object"),
    }
}

/// A refusal. It is one whatever stands in it; `wait` and `text` count if they are there.
fn refused(body: &[u8]) -> Said {
    let said: Json = serde_json::from_slice(body).unwrap_or_default();
    let wait = said.get("wait").and_then(Json::as_u64).and_then(|wait| u32::try_from(wait).ok());
    let text = said.get("text").and_then(Json::as_str).filter(|text| text.len() <= 400);
    Said::Refused {
        wait: wait.map(|seconds| Duration::from_secs(seconds.into())),
        text: text.map(Into::into),
    }
}
