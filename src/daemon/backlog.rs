//! A bounded queue at which nobody waits to put something in: what is too much pushes the oldest
//! out, and is counted.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The queue, shared by who puts in and who takes out.
#[derive(Debug)]
pub struct Backlog<T> {
    most: usize,
    inner: Mutex<Inner<T>>,
    news: Notify,
}

#[derive(Debug)]
struct Inner<T> {
    waiting: VecDeque<T>,
    dropped: u64,
    closed: bool,
}

impl<T> Backlog<T> {
    /// Empty; holds at most so many.
    pub fn new(most: usize) -> Backlog<T> {
        let inner = Inner { waiting: VecDeque::new(), dropped: 0, closed: false };
        Backlog { most, inner: Mutex::new(inner), news: Notify::new() }
    }

    /// Puts one in; what had to go for it.
    pub fn push(&self, item: T) -> Option<T> {
        let mut inner = self.lock();
        let full = inner.waiting.len() >= self.most;
        let gone = if full { inner.waiting.pop_front() } else { None };
        inner.dropped += u64::from(gone.is_some());
        inner.waiting.push_back(item);
        drop(inner);
        self.news.notify_one();
        gone
    }

    /// Takes the oldest out, waiting for it; `None` when the queue is closed and empty. For one
    /// taker.
    pub async fn next(&self) -> Option<T> {
        loop {
            {
                let mut inner = self.lock();
                if let Some(item) = inner.waiting.pop_front() {
                    return Some(item);
                }
                if inner.closed {
                    return None;
                }
            }
            self.news.notified().await;
        }
    }

    /// What is in it is still taken out, and nothing more is waited for.
    pub fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }

    /// Waits until it is closed. For the taker.
    pub async fn closed(&self) {
        while !self.is_closed() {
            self.news.notified().await;
        }
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// How many wait, and how many had to go.
    pub fn counts(&self) -> (usize, u64) {
        let inner = self.lock();
        (inner.waiting.len(), inner.dropped)
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_goes_and_the_order_stays() {
        let queue = Backlog::new(3);
        let gone: Vec<Option<i32>> = (0..5).map(|item| queue.push(item)).collect();
        assert_eq!(gone, [None, None, None, Some(0), Some(1)]);
        assert_eq!(queue.counts(), (3, 2));
        queue.close();
        let mut taken = Vec::new();
        while let Some(item) = queue.next().await {
            taken.push(item);
        }
        assert_eq!(taken, [2, 3, 4]);
    }
}
