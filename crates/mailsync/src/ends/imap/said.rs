//! What a server's NO, BAD and BYE mean for what comes next.
//!
//! Nothing here is guessed where a response code says it; texts are looked at only where codes are missing.

use std::time::Duration;

use proto::imap::client::{Code, Status, Verdict, Words};

use super::super::{Fault, FaultKind, Refusal, RefusalCause};

/// A fault, unless the verdict is OK.
pub(super) fn check(verdict: &Verdict) -> Result<(), Fault> {
    match verdict.status {
        Status::Ok => Ok(()),
        Status::No | Status::Bad => Err(Fault::new(kind(&verdict.words), shown(verdict))),
    }
}

fn kind(words: &Words) -> FaultKind {
    match cause(words) {
        RefusalCause::Full => FaultKind::Full,
        RefusalCause::NotNow(wait) => FaultKind::Busy(wait),
        RefusalCause::Mailbox | RefusalCause::Other | RefusalCause::TooLarge => FaultKind::Mailbox,
    }
}

/// Why a message was refused.
pub(super) fn refusal(verdict: &Verdict, among: usize) -> Refusal {
    Refusal { cause: cause(&verdict.words), among, said: shown(verdict) }
}

fn cause(words: &Words) -> RefusalCause {
    let text = words.text.to_ascii_lowercase();
    let wait = asked_for(&text);
    match &words.code {
        Some(Code::OverQuota) => RefusalCause::Full,
        Some(Code::TooBig) => RefusalCause::TooLarge,
        Some(Code::InUse | Code::Unavailable | Code::ServerBug | Code::Throttled | Code::Limit) => {
            RefusalCause::NotNow(wait)
        }
        Some(Code::NonExistent | Code::TryCreate | Code::NoPerm) => RefusalCause::Mailbox,
        _ if wait.is_some() || text.contains("throttl") => RefusalCause::NotNow(wait),
        None if text.contains("quota exceeded") || text.contains("over quota") => {
            RefusalCause::Full
        }
        _ => RefusalCause::Other,
    }
}

/// A BYE: the connection ends, mostly for no fault of ours.
pub(super) fn goodbye(words: &Words) -> Fault {
    Fault::lost(format!("BYE {}", words.text))
}

/// How long a server asks to wait, as Exchange does: `Suggested Backoff Time: 299961 milliseconds`.
fn asked_for(text: &str) -> Option<Duration> {
    let (_, behind) = text.split_once("backoff time:")?;
    let digits: String = behind.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().map(Duration::from_millis)
}

fn shown(verdict: &Verdict) -> String {
    let status = match verdict.status {
        Status::Ok => "OK",
        Status::No => "NO",
        Status::Bad => "BAD",
    };
    match &verdict.words.code {
        Some(Code::Other { name, .. }) => format!("{status} [{name}] {}", verdict.words.text),
        Some(code) => format!("{status} [{code:?}] {}", verdict.words.text),
        None => format!("{status} {}", verdict.words.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(code: Option<Code>, text: &str) -> Words {
        Words { code, text: text.to_owned() }
    }

    #[test]
    fn a_server_is_waited_for_as_long_as_it_says() {
        let text = "Request is throttled. Suggested Backoff Time: 299961 milliseconds";
        let asked = RefusalCause::NotNow(Some(Duration::from_millis(299_961)));
        assert_eq!(cause(&words(None, text)), asked);
        let unsaid = RefusalCause::NotNow(None);
        assert_eq!(cause(&words(Some(Code::Throttled), "slower")), unsaid);
        assert_eq!(cause(&words(Some(Code::InUse), "locked")), unsaid);
    }

    #[test]
    fn a_code_says_what_is_wrong_and_a_text_only_where_there_is_none() {
        assert_eq!(cause(&words(Some(Code::OverQuota), "")), RefusalCause::Full);
        assert_eq!(cause(&words(None, "Quota exceeded")), RefusalCause::Full);
        assert_eq!(cause(&words(Some(Code::TooBig), "quota exceeded")), RefusalCause::TooLarge);
        assert_eq!(cause(&words(Some(Code::TryCreate), "")), RefusalCause::Mailbox);
        assert_eq!(cause(&words(None, "Virus found")), RefusalCause::Other);
    }
}
