//! The `duotone` command.

use std::process::ExitCode;

use duotone::lab::{self, DemoOptions, ExitKind};

fn main() -> anyhow::Result<ExitCode> {
    if let Some(code) = lab::inside(std::env::args_os()) {
        return Ok(code);
    }
    let mut options = DemoOptions::default();
    let mut arguments = std::env::args().skip(2);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        let wrong = anyhow::Error::msg;
        match argument.as_str() {
            "--scenario" => {
                options.scenarios =
                    value().split(',').map(str::parse).collect::<Result<_, _>>().map_err(wrong)?;
            }
            "--mode" => options.mode = value().parse().map_err(wrong)?,
            "--durability" => options.durability = value().parse().map_err(wrong)?,
            "--preset" => options.preset = value().parse().map_err(wrong)?,
            "--json" => options.json = Some(value().into()),
            "--keep" => options.keep = true,
            "--floor-only" => options.floor_only = true,
            "--runs" => options.runs = value().parse()?,
            other => anyhow::bail!("unknown argument {other}"),
        }
    }
    Ok(match lab::demo(&options)? {
        ExitKind::Kept => ExitCode::SUCCESS,
        ExitKind::Broken => ExitCode::from(1),
        ExitKind::NotRoot => ExitCode::from(5),
        ExitKind::Interrupted => ExitCode::from(130),
    })
}
