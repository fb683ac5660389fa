//! The `duotone` command.
fn main() {}
