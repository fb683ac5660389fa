//! What the core was given and what it did about it: on file, and through the same core again.
//!
//! A recording is text. Each line is a checksum (eight hexadecimal digits of the SHA-256 of its
//! number and its content), a space, and JSON (`cut -c10- FILE | jq .`): the heading, the node as it
//! began, and then, in their order, every event with its time, every action and every decision. No
//! key is in it.
//!
//! Nothing here touches the outside but the file that it is given.

mod file;
pub mod replay;
mod story;

pub use file::{Heading, ReadError, Recording, VERSION, Writer, read};

use serde::{Deserialize, Serialize};

use crate::protocol::action::Action;
use crate::protocol::event::Event;
use crate::protocol::lead::{Authority, Why};
use crate::protocol::time::Instant;

/// One line of a recording.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    /// The node was given this, at this time.
    Event(Instant, Event),
    /// It wanted this.
    Action(Action),
    /// Its authority, or its reason, changed to this.
    Decided(Authority, Why),
}
