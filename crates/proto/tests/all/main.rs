//! Tests of the machines from outside: dialogues from text files, and properties.

#[cfg(test)]
mod client;
#[cfg(test)]
mod client_id;
#[cfg(test)]
mod dialogue;
#[cfg(test)]
mod dialogues;
#[cfg(test)]
mod drive;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod relay;
