//! The witness's service as nodes and strangers meet it: the real bytes, the real disk, the real
//! process.

mod asker;
mod disk;
mod process;
mod rule;
mod strangers;
