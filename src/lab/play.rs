//! In which order the scenarios are played, and on which world: one after the other on the same as
//! long as the pair comes together again, because a pair that is used goes on being used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::clock::{self, Interrupted, pause, wait_until};
use super::judgement::{Bearable, Breach, excuse};
use super::outcome::{self, Evidence, Outcome};
use super::scenario::{Contestant, Owners, Scenario};
use super::script;
use super::stage::Stage;
use super::{DemoOptions, Say, postgres, report, show_logs, world};

/// How long calls flow between two scenarios.
const BETWEEN: Duration = Duration::from_millis(500);
/// A call may take this long to be answered before it counts as lost: the phone gives up then.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// How often a scenario is played again because the machine itself stood still.
const AGAIN: usize = 2;

/// Plays everything that was asked for.
///
/// # Errors
/// The lab itself failed, or the user interrupts.
pub fn all(options: &DemoOptions, data: &Path) -> anyhow::Result<Vec<Outcome>> {
    let say = Say(clock::now());
    say.line("making the database cluster");
    let template = postgres::make_template(data)?;
    let mut theatre = Theatre { options, data, template, say, stage: None, worlds: 0 };
    let mut outcomes = Vec::new();
    for (scenario, contestant) in programme(options) {
        let statement = scenario.statement();
        println!("\n{} — {}: {}", statement.name, name(contestant), statement.fault);
        outcomes.push(theatre.play_fairly(scenario, contestant)?);
    }
    theatre.close();
    Ok(outcomes)
}

fn name(contestant: Contestant) -> &'static str {
    match contestant {
        Contestant::Duotone => "duotone",
        Contestant::BareFloor => "the bare floor",
    }
}

/// The floor, which is comparable only where it can do something at all, before and after the
/// pair's first scenarios, so that a slow moment of the machine hits both.
fn programme(options: &DemoOptions) -> Vec<(Scenario, Contestant)> {
    let chosen =
        if options.scenarios.is_empty() { &Scenario::ALL[..] } else { &options.scenarios[..] };
    let runs = |scenario| if scenario == Scenario::PowerOff { options.runs.max(1) } else { 1 };
    let mut plays = Vec::new();
    for &scenario in chosen {
        let floor = options.floor_only
            || (options.floor && matches!(scenario, Scenario::PowerOff | Scenario::CutEth1));
        if floor {
            plays.extend(vec![(scenario, Contestant::BareFloor); runs(scenario)]);
        }
    }
    if !options.floor_only {
        for &scenario in chosen {
            plays.extend(vec![(scenario, Contestant::Duotone); runs(scenario)]);
        }
    }
    plays
}

struct Theatre<'a> {
    options: &'a DemoOptions,
    data: &'a Path,
    template: PathBuf,
    say: Say,
    stage: Option<Stage>,
    worlds: usize,
}

impl Theatre<'_> {
    /// Plays a scenario, and again if the machine itself stood still for so long that what was seen
    /// proves nothing of the pair. The last play stands, whatever it shows.
    fn play_fairly(
        &mut self,
        scenario: Scenario,
        contestant: Contestant,
    ) -> anyhow::Result<Outcome> {
        let bearable = Bearable::of(self.options.preset);
        let mut played_again = Vec::new();
        loop {
            let mut outcome = self.play(scenario, contestant)?;
            let excuse = excuse(&outcome, bearable).filter(|_| played_again.len() < AGAIN);
            if excuse.is_none() {
                outcome.played_again = std::mem::take(&mut played_again);
            }
            print!("{}", report::story(&outcome));
            self.tidy(&outcome);
            let Some(why) = excuse else { return Ok(outcome) };
            println!("  PLAYED AGAIN: {why}");
            played_again.push(format!("{why}: {}", report::breaches(&outcome)));
        }
    }

    fn play(&mut self, scenario: Scenario, contestant: Contestant) -> anyhow::Result<Outcome> {
        let mut before = None;
        let stage = match self.prepared(scenario, contestant, &mut before)? {
            Some(stage) => stage,
            None => self.build(contestant)?,
        };
        let stage = self.stage.insert(stage);
        if scenario == Scenario::Return && stage.world.hosts.iter().all(Option::is_some) {
            script::power_off(stage, &self.say)?;
        }
        let (began, was) = (clock::now(), stage.active);
        pause(BETWEEN)?;
        let struck = script::strike(stage, scenario, &self.say)?;
        let end = clock::now();
        let all_answered = || stage.watch.all_answered(began, end);
        wait_until(ANSWER_PATIENCE, Duration::from_millis(50), all_answered)?;
        let durability = self.options.durability;
        let evidence = Evidence { scenario, durability, struck, began, end, was };
        let mut outcome = outcome::gather(stage, evidence)?;
        outcome.broken.extend(before.map(Breach::of_service));
        Ok(outcome)
    }

    /// The present world, fit for a scenario, if it can be. A pair that does not come together
    /// again breaks a promise, told in `broken`; the scenario is played on a new one all the same.
    fn prepared(
        &mut self,
        scenario: Scenario,
        contestant: Contestant,
        broken: &mut Option<String>,
    ) -> anyhow::Result<Option<Stage>> {
        let Some(mut stage) = self.stage.take() else { return Ok(None) };
        if contestant == Contestant::BareFloor || stage.contestant == Contestant::BareFloor {
            remove(stage);
            return Ok(None);
        }
        // A host that is off is what it begins with.
        if scenario == Scenario::Return && stage.world.hosts.iter().any(Option::is_none) {
            return Ok(Some(stage));
        }
        match stage.settle() {
            Ok(()) => Ok(Some(stage)),
            Err(error) if error.is::<Interrupted>() => Err(error),
            Err(error) => {
                self.say.line(&format!("a new world, because {error}"));
                *broken = Some(format!("after the scenario before this: {error}"));
                show_logs(&stage.files);
                remove(stage);
                Ok(None)
            }
        }
    }

    fn build(&mut self, contestant: Contestant) -> anyhow::Result<Stage> {
        let files = self.data.join(format!("run-{}", self.worlds));
        self.worlds += 1;
        std::fs::create_dir(&files)?;
        Stage::set(self.options, contestant, &files, &self.template, &self.say)
    }

    /// After a scenario: a world in which something went wrong, or rows were lost as stated, is not
    /// used again.
    fn tidy(&mut self, outcome: &Outcome) {
        let broken = !outcome.broken.is_empty() && outcome.contestant == Contestant::Duotone;
        if let Some(stage) = self.stage.as_ref().filter(|_| broken) {
            show_logs(&stage.files);
        }
        let split = outcome.scenario.statement().owners == Owners::Split;
        if (broken || split) && !self.options.keep {
            self.stage.take().into_iter().for_each(remove);
        }
    }

    /// The end: the last world goes, or stays up if that was asked for.
    fn close(mut self) {
        match self.stage.take() {
            Some(mut stage) if self.options.keep => {
                say_how_to_look(&stage.world, self.options);
                stage.keep();
            }
            stage => drop(stage),
        }
    }
}

/// Takes a world down, with its files.
fn remove(stage: Stage) {
    let files = stage.files.clone();
    drop(stage);
    let _ = std::fs::remove_dir_all(files);
}

fn say_how_to_look(world: &world::World, options: &DemoOptions) {
    let program = options.program.display();
    println!("\nthe lab stays up until the next run:");
    for (node, host) in world.hosts.iter().enumerate() {
        let Some(host) = host else { continue };
        println!("  {program} status --socket {}", host.files.join("control.sock").display());
        println!("  ip netns exec {} ip addr          # {}", world::HOSTS[node], host.name);
    }
    println!("  ip netns exec {} tcpdump -ni eth0", world::PHONE);
    println!("  logs: {}/pbx-?/*.log", world.files.display());
}
