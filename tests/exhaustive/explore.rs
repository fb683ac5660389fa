//! The walk through everything that may happen within the bounds.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::{self, Write};
use std::hash::Hasher;

use crate::pair::{Bounds, Pair};
use crate::toggles::Toggle;

/// How far a walk goes.
#[derive(Clone, Copy)]
pub struct Reach {
    /// So many disturbances, the first of them at once...
    pub disturbances: u32,
    /// ...and each within so many ticks of the first.
    pub window: u32,
    /// Ticks from the last disturbance until everything is whole again.
    pub lasting: u32,
    /// A whole pair is settled within this.
    pub settled_within: u32,
}

pub struct Walk<'a> {
    bounds: &'a Bounds,
    reach: Reach,
    toggles: &'a [Toggle],
    /// What was walked from already, with how many disturbances left.
    known: HashMap<u64, u32>,
    /// What has been done so far, and when.
    path: Vec<(u32, Toggle)>,
    pub seen: Seen,
}

#[derive(Clone, Copy, Default, Debug)]
pub struct Seen {
    /// Different states at which a disturbance was still to come.
    pub states: u64,
    /// Ticks of a pair.
    pub ticks: u64,
    /// Courses of events, each to its end.
    pub courses: u64,
    /// States that were met again.
    pub again: u64,
}

/// A course of events that breaks something.
#[derive(Debug)]
pub struct Broken {
    pub sentence: String,
    pub path: Vec<(u32, Toggle)>,
}

impl Seen {
    pub fn add(&mut self, other: &Seen) {
        self.states += other.states;
        self.ticks += other.ticks;
        self.courses += other.courses;
        self.again += other.again;
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seen { states, ticks, courses, again } = self;
        write!(
            f,
            "{courses} courses of events over {states} different states ({again} met again), \
             {ticks} ticks of a pair"
        )
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, after", self.sentence)?;
        let begin = self.path.first().map_or(0, |(at, _)| *at);
        self.path.iter().try_for_each(|(at, toggle)| write!(f, " +{} {toggle:?}", at - begin))
    }
}

impl Broken {
    /// The course again, told tick by tick.
    pub fn story(&self, bounds: &Bounds, reach: Reach) -> String {
        let mut story = format!("{self}\n{bounds:?}\n");
        let Some(mut pair) = settled(bounds) else { return story };
        let begin = pair.now;
        let last = self.path.last().map_or(begin, |(at, _)| *at);
        while pair.broken.is_none() && pair.now < last + reach.lasting + reach.settled_within {
            let now = pair.now;
            for (_, toggle) in self.path.iter().filter(|(at, _)| *at == now) {
                pair.toggle(*toggle, bounds);
                story += &format!("{:3} {toggle:?}\n", pair.now - begin);
            }
            if pair.now == last + reach.lasting {
                pair.heal(bounds);
                story += &format!("{:3} everything is whole again\n", pair.now - begin);
            }
            pair.tick(bounds);
            story += &format!("{:3} {pair}\n", pair.now - begin);
        }
        story
    }
}

impl<'a> Walk<'a> {
    pub fn new(bounds: &'a Bounds, reach: Reach, toggles: &'a [Toggle]) -> Walk<'a> {
        let (known, path, seen) = (HashMap::new(), Vec::new(), Seen::default());
        Walk { bounds, reach, toggles, known, path, seen }
    }

    pub fn all(&mut self) -> Result<(), Broken> {
        let start = settled(self.bounds);
        let start = start.ok_or_else(|| self.broken("P6: a new pair is not settled"))?;
        for index in 0..self.toggles.len() {
            self.disturb(&start, index, self.reach.disturbances, start.now + self.reach.window)?;
        }
        Ok(())
    }

    /// Does one thing, and then whatever may come after it.
    fn disturb(&mut self, pair: &Pair, index: usize, left: u32, end: u32) -> Result<(), Broken> {
        let mut pair = pair.clone();
        let toggle = self.toggles[index];
        pair.toggle(toggle, self.bounds);
        self.path.push((pair.now, toggle));
        self.go_on(pair, index + 1, left - 1, end)?;
        self.path.pop();
        Ok(())
    }

    /// Disturbances within a tick come in the order of the list: another order is no other course.
    fn go_on(&mut self, mut pair: Pair, from: usize, left: u32, end: u32) -> Result<(), Broken> {
        if left == 0 {
            return self.finish(pair);
        }
        for index in from..self.toggles.len() {
            if pair.can(self.toggles[index]) {
                self.disturb(&pair, index, left, end)?;
            }
        }
        loop {
            self.tick(&mut pair)?;
            if pair.now >= end {
                return self.finish(pair);
            }
            let known = self.known.entry(print(&pair)).or_insert(0);
            if *known >= left {
                self.seen.again += 1;
                return Ok(());
            }
            *known = left;
            self.seen.states += 1;
            for index in 0..self.toggles.len() {
                if pair.can(self.toggles[index]) {
                    self.disturb(&pair, index, left, end)?;
                }
            }
        }
    }

    /// Nothing more breaks; later everything is made whole, and must settle.
    fn finish(&mut self, mut pair: Pair) -> Result<(), Broken> {
        self.seen.courses += 1;
        for _ in 0..self.reach.lasting {
            self.tick(&mut pair)?;
        }
        pair.heal(self.bounds);
        for _ in 0..self.reach.settled_within {
            self.tick(&mut pair)?;
            if pair.settled() {
                return Ok(());
            }
        }
        Err(self.broken("P6: not settled after everything was whole again"))
    }

    fn tick(&mut self, pair: &mut Pair) -> Result<(), Broken> {
        pair.tick(self.bounds);
        self.seen.ticks += 1;
        match &pair.broken {
            Some(sentence) => Err(self.broken(sentence)),
            None => Ok(()),
        }
    }

    fn broken(&self, sentence: &str) -> Broken {
        Broken { sentence: sentence.to_owned(), path: self.path.clone() }
    }
}

/// A pair that was switched on, and has had the time to settle and to certify.
pub fn settled(bounds: &Bounds) -> Option<Pair> {
    let mut pair = Pair::new(bounds);
    for _ in 0..80 {
        pair.tick(bounds);
    }
    pair.settled().then_some(pair)
}

/// Two states of one fingerprint are taken for one: everything that a state is goes into it.
fn print(pair: &Pair) -> u64 {
    struct Print(DefaultHasher);
    impl Write for Print {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut print = Print(DefaultHasher::new());
    let _ = write!(print, "{pair:?}");
    print.0.finish()
}
