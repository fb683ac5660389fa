//! Whether the log is really being received: a receiver that the peer refuses, because it has removed
//! what is asked for, counts as streaming for a moment, and is started again and again.

use std::time::Duration;

use tokio::time::Instant as Deadline;

/// The life of a receiver that is not refused.
const STEADY: Duration = Duration::from_secs(1);

/// What the looks have seen of the receivers.
#[derive(Default, Debug)]
pub(super) struct Receiving {
    /// The receiver's pid as the server tells it, and since when it streams.
    receiver: Option<(String, Deadline)>,
    /// Orders to follow since a receiver was last steady.
    orders: u32,
}

impl Receiving {
    /// A look has seen this.
    pub(super) fn note(&mut self, pid: &str, streaming: bool) {
        match &self.receiver {
            Some((known, since)) if streaming && known == pid => {
                if since.elapsed() >= STEADY {
                    self.orders = 0;
                }
            }
            Some(_) | None => {
                self.receiver = streaming.then(|| (pid.to_owned(), Deadline::now()));
            }
        }
    }

    /// The node orders the server to follow; true if it did so before and that did not last.
    pub(super) fn ordered(&mut self) -> bool {
        self.orders = self.orders.saturating_add(1);
        self.orders > 1
    }
}

#[cfg(test)]
mod tests {
    use super::{Receiving, STEADY};

    #[tokio::test]
    async fn only_a_receiver_that_lives_is_steady() {
        let mut receiving = Receiving::default();
        assert!(!receiving.ordered());
        for pid in ["10", "11", "12"] {
            receiving.note(pid, true);
            receiving.note("0", false);
        }
        assert!(receiving.ordered(), "each was another one");
        receiving.note("13", true);
        tokio::time::sleep(STEADY).await;
        receiving.note("13", true);
        assert!(!receiving.ordered());
    }
}
