//! The protocol alone: compiled as `no_std + alloc`, it can reach no clock, socket or file.
#![no_std]
extern crate alloc;
#[path = "../../src/protocol/mod.rs"]
pub mod protocol;
