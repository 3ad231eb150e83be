//! A worker's side of the conversation with Posthouse: one question after the other, each answered whole.
//!
//! Nothing here knows ODBC, or calls foreign code: that is the program's, which is built with the feature `odbc`.

mod conversation;

pub use conversation::{Answer, Conversation, Failed, Question};
