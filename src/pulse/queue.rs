//! Letters from the slow world to the pulse: a bounded queue whose reader can be polled.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::config::Floating;
use crate::protocol::event::Event;

/// What the slow world tells the pulse.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Letter {
    /// Something for the node.
    Event(Event),
    /// The configuration was read again.
    Configuration {
        /// From now on these are the group's addresses and references; `None` when they are the
        /// same as before.
        floating: Option<Floating>,
        /// From now on heartbeats carry this hash.
        hash: u64,
    },
    /// From now on heartbeats say that this node is in maintenance, or no longer.
    Maintenance(bool),
    /// End the thread. What the node should give up first, it was told before.
    Stop,
}

/// A queue with room for this many letters.
///
/// # Errors
/// The kernel gives no event descriptor (eventfd(2)).
pub fn post_box(capacity: usize) -> std::io::Result<(Post, Inbox)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (sender, receiver) = sync_channel(capacity);
    Ok((Post { sender, bell: Arc::clone(&bell) }, Inbox { receiver, bell, capacity }))
}

/// The writer's end; clones write to the same queue.
#[derive(Clone, Debug)]
pub struct Post {
    sender: SyncSender<Letter>,
    bell: Arc<OwnedFd>,
}

/// A letter that was not taken, with the reason.
#[derive(PartialEq, Eq, Debug, thiserror::Error)]
pub enum PostError {
    /// The pulse has not read the last ones; the letter may be sent again.
    #[error("the pulse's queue is full")]
    Full(Box<Letter>),
    /// The pulse has ended.
    #[error("the pulse has ended")]
    Ended(Box<Letter>),
}

impl Post {
    /// Queues a letter and wakes the pulse; returns at once.
    ///
    /// # Errors
    /// The queue is full, or nobody reads it any more.
    pub fn send(&self, letter: Letter) -> Result<(), PostError> {
        self.sender.try_send(letter).map_err(|error| match error {
            TrySendError::Full(letter) => PostError::Full(Box::new(letter)),
            TrySendError::Disconnected(letter) => PostError::Ended(Box::new(letter)),
        })?;
        // The only failure is EAGAIN of a counter at its top: the bell rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        Ok(())
    }
}

/// The pulse's end.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Letter>,
    bell: Arc<OwnedFd>,
    capacity: usize,
}

impl Inbox {
    /// Readable when letters wait.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Takes what waits, at most one queue's worth.
    pub fn drain(&mut self, mut take: impl FnMut(Letter)) {
        // First the bell, then the letters: one that comes in between rings again.
        let mut rung = [0; 8];
        while rustix::io::read(&self.bell, &mut rung) == Err(Errno::INTR) {}
        for _ in 0..self.capacity {
            match self.receiver.try_recv() {
                Ok(letter) => take(letter),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
        // The queue may have been refilled meanwhile: come back in the next turn.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn rings(inbox: &Inbox) -> bool {
        let bell = inbox.fd();
        let mut fds = [PollFd::new(&bell, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    fn drained(inbox: &mut Inbox) -> usize {
        let mut letters = 0;
        inbox.drain(|_| letters += 1);
        letters
    }

    #[test]
    fn a_letter_rings_until_it_is_taken() {
        let (post, mut inbox) = post_box(4).unwrap();
        assert!(!rings(&inbox));
        post.send(Letter::Event(Event::Tick)).unwrap();
        post.clone().send(Letter::Stop).unwrap();
        assert!(rings(&inbox));
        let mut letters = Vec::new();
        inbox.drain(|letter| letters.push(letter));
        assert_eq!(letters, [Letter::Event(Event::Tick), Letter::Stop]);
        assert!(!rings(&inbox));
    }

    #[test]
    fn a_full_queue_gives_the_letter_back() {
        let (post, mut inbox) = post_box(2).unwrap();
        post.send(Letter::Stop).unwrap();
        post.send(Letter::Stop).unwrap();
        let refused = post.send(Letter::Event(Event::Tick));
        assert_eq!(refused, Err(PostError::Full(Box::new(Letter::Event(Event::Tick)))));
        assert_eq!(drained(&mut inbox), 2);
        assert!(rings(&inbox), "a queue that was full is looked at again");
        assert_eq!(drained(&mut inbox), 0);
        assert!(!rings(&inbox));
    }

    #[test]
    fn nothing_is_lost_between_two_threads() {
        let (post, mut inbox) = post_box(8).unwrap();
        let writer = std::thread::spawn(move || {
            let mut sent = 0;
            while sent < 2000 {
                match post.send(Letter::Event(Event::Tick)) {
                    Ok(()) => sent += 1,
                    Err(PostError::Full(_)) => std::thread::yield_now(),
                    Err(PostError::Ended(_)) => panic!("ended"),
                }
            }
        });
        let mut received = 0;
        while received < 2000 {
            let bell = inbox.fd();
            let mut fds = [PollFd::new(&bell, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&Timespec { tv_sec: 5, tv_nsec: 0 })).unwrap();
            assert_eq!(ready, 1, "letters wait and the bell is silent after {received}");
            received += drained(&mut inbox);
        }
        writer.join().unwrap();
    }

    #[test]
    fn the_writer_learns_that_the_pulse_has_ended() {
        let (post, inbox) = post_box(1).unwrap();
        drop(inbox);
        assert_eq!(post.send(Letter::Stop), Err(PostError::Ended(Box::new(Letter::Stop))));
    }
}
