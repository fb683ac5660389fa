//! Every course of events within bounds, not a sample of them: two nodes of the real protocol, a LAN
//! or a witness as their arbiter, and time in ticks. Whatever up to so many disturbances do, at
//! whichever ticks they come, two nodes never own the address, nothing that was acknowledged is
//! missing where the role goes, and once all is whole one serves and the other follows.
//!
//! The simulator's world is finer and is sampled; this one is coarse and is walked to its end.

mod between;
mod check;
mod clusters;
mod explore;
mod host;
mod logs;
mod pair;
mod proofs;
mod ticks;
mod toggles;
