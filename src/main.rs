//! The `duotone` command: joins the rooms of the library and hands over to the command line.

use std::process::ExitCode;

use duotone::cli::{self, Parts};

fn main() -> ExitCode {
    cli::main(&Parts::default())
}
