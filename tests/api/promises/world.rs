//! The world, and what can happen in it.

use std::{collections::BTreeSet, mem};

use stateright::{Model, Property};

use self::{Action::*, What::*};
use super::{AS_FOLLOWED, BOUNDED, Fault::*, NEVER_BACK, OWN_WRITES, Promises, promises};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The page; before, its address is a 404.
    Created,
    Changed,
    /// Something that the page doesn't show.
    Elsewhere,
    /// From here on the log has another id: this change's.
    Reset,
}

/// Its id is never given twice; its position is, by a database that lost writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    pub position: u8,
    id: u8,
    what: What,
    by: Option<usize>,
}

/// The log, or as much of it as somebody knows. The first change is a reset.
type Log = Vec<Change>;

/// A log's id, a position in it, and the id of the change there.
type Mark = (u8, u8, u8);

/// The last change that the page shows (0: a 404), and the last one of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    pub version: u8,
    mark: Mark,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Look {
    read: Log,
    /// Something is not there that the instance knew when it began.
    misses: bool,
    age: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Request {
    #[default]
    None,
    /// The read under way began for it.
    Leads,
    /// It found a read under way, and would break this with what that brings.
    Waits(BTreeSet<&'static str>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Instance {
    pub followed: Log,
    look: Option<Look>,
    /// How many ticks ago the last completed look began.
    looked: u8,
    /// What somebody was told here, and is not followed yet.
    shown: BTreeSet<Mark>,
    /// What was written here last, until it is followed: so long, hits are misses.
    owed: Option<Mark>,
    pub kept: Option<Answer>,
    /// The one read under way.
    read: Option<Answer>,
    /// The person's.
    request: Request,
    /// The version that the person saw last.
    seen: u8,
    /// The database lost writes, and no look has been completed since: until then versions can't be compared.
    torn: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub log: Log,
    trimmed_below: u8,
    ids: u8,
    writes_left: u8,
    failovers_left: u8,
    pub instances: [Instance; 2],
    /// What the subscriber was told last, and whether it was told all before.
    pub told: (Mark, bool),
    /// Versions that are true no more, and since how many ticks.
    superseded: Vec<(u8, u8)>,
    /// The promises that an answer broke.
    pub broken: BTreeSet<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    Tick,
    /// Through which instance, and what.
    Write(usize, What),
    BeginLook(usize),
    EndLook(usize),
    /// The person asks for the page.
    Ask(usize),
    /// Somebody else does.
    AskToo(usize),
    EndRead(usize),
    /// The subscriber asks for the next change.
    Poll(usize),
    LoseAllBut(usize),
    Trim,
}

fn last(log: &[Change]) -> Change {
    log[log.len() - 1]
}

pub fn log_id(log: &[Change]) -> u8 {
    log.iter().rfind(|change| change.what == Reset).unwrap().id
}

fn mark(log: &[Change]) -> Mark {
    (log_id(log), last(log).position, last(log).id)
}

pub fn has(log: &[Change], id: u8) -> bool {
    log.iter().any(|change| change.id == id)
}

fn version(log: &[Change], counts: impl Fn(&Change) -> bool) -> u8 {
    let shown = log.iter().rfind(|change| matches!(change.what, Created | Changed) && counts(change));
    shown.map_or(0, |change| change.id)
}

pub fn answer(log: &[Change]) -> Answer {
    Answer { version: version(log, |_| true), mark: mark(log) }
}

impl Instance {
    fn show(&mut self, mark: Mark) {
        self.shown.insert(mark);
        self.forget_followed();
    }

    fn forget_followed(&mut self) {
        let (log, position, _) = mark(&self.followed);
        self.shown.retain(|shown| shown.0 != log || shown.1 > position);
    }
}

impl World {
    /// Whether an instance has followed all of the log that there is.
    pub fn is_known_to(&self, instance: &Instance) -> bool {
        !instance.torn && last(&instance.followed) == last(&self.log)
    }

    fn change(&mut self, change: impl FnOnce(&mut Log)) {
        self.superseded.push((answer(&self.log).version, 0));
        change(&mut self.log);
        let now = answer(&self.log).version;
        self.superseded.retain(|(version, _)| *version != now);
    }

    fn commit(&mut self, what: What, by: Option<usize>) {
        self.ids += 1;
        let change = Change { position: last(&self.log).position + 1, id: self.ids, what, by };
        self.change(|log| log.push(change));
    }

    /// What is broken if the person asks here, now, and gets this version.
    fn broken_by(&self, at: usize, got: u8) -> BTreeSet<&'static str> {
        let Instance { followed, seen, torn, .. } = &self.instances[at];
        let mut of_late = self.superseded.iter().map(|(version, _)| *version).chain([answer(&self.log).version]);
        let promises = [
            (OWN_WRITES, got >= version(&self.log, |change| change.by == Some(at))),
            (BOUNDED, of_late.any(|version| version == got)),
            (NEVER_BACK, got >= *seen || *torn),
            (AS_FOLLOWED, got >= answer(followed).version || *torn),
        ];
        promises.into_iter().filter_map(|(promise, holds)| (!holds).then_some(promise)).collect()
    }

    fn tick(&mut self, bound: u8) {
        let older = |age: &mut u8| *age = bound.min(*age + 1);
        self.superseded.iter_mut().for_each(|(_, age)| older(age));
        self.superseded.retain(|(_, age)| *age < bound);
        for instance in &mut self.instances {
            older(&mut instance.looked);
            instance.look.iter_mut().for_each(|look| older(&mut look.age));
        }
    }

    fn lose_all_but(&mut self, length: usize) {
        self.failovers_left -= 1;
        self.change(|log| log.truncate(length));
        self.trimmed_below = self.trimmed_below.min(last(&self.log).position);
        for instance in &mut self.instances {
            (instance.look, instance.read, instance.request, instance.torn) = (None, None, Request::None, true);
        }
    }

    /// Tells the next change of those that this instance has followed.
    fn poll(&mut self, at: usize) -> Option<()> {
        let instance = &mut self.instances[at];
        let (told, all) = self.told;
        if told.0 != log_id(&instance.followed) || told.1 + 1 < self.trimmed_below {
            // 410: the content is read again, and its position is where to go on.
            self.told = (mark(&self.log), true);
            instance.show(mark(&self.log));
        } else {
            let next = instance.followed.iter().position(|change| change.position > told.1)?;
            let (before, with) = (&instance.followed[..next], &instance.followed[..=next]);
            self.told = (mark(with), all && mark(before) == told && last(with).position == told.1 + 1);
        }
        Some(())
    }
}

impl Model for Promises {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let log = vec![Change { position: 0, id: 0, what: Reset, by: None }];
        let instance = Instance { followed: log.clone(), looked: self.bound, ..Instance::default() };
        vec![World {
            told: (mark(&log), true),
            log,
            trimmed_below: 0,
            ids: 0,
            writes_left: self.writes,
            failovers_left: self.failovers,
            instances: [instance.clone(), instance],
            superseded: Vec::new(),
            broken: BTreeSet::new(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let at_once = |at: &usize| {
            let Instance { look, read, .. } = &world.instances[*at];
            look.is_some() && !self.slow_looks || read.is_some() && !self.slow_reads
        };
        if let Some(at) = (0..2).find(at_once) {
            return actions.extend([EndLook(at), EndRead(at)]);
        }
        if world.writes_left > 0 {
            let what = if answer(&world.log).version == 0 { Created } else { Changed };
            actions.extend((0..self.writers).map(|by| Write(by, what)));
            actions.extend((0..self.writers).map(|by| Write(by, Elsewhere)).filter(|_| self.caches > 0));
        }
        actions.extend((1..world.log.len()).map(LoseAllBut).filter(|_| world.failovers_left > 0));
        actions.extend((0..self.followers).flat_map(|at| [BeginLook(at), EndLook(at)]));
        actions.extend((0..self.caches).flat_map(|at| [Ask(at), EndRead(at)]));
        actions.extend((0..self.caches).map(AskToo).filter(|_| self.slow_reads));
        if self.caches > 0 {
            actions.push(Tick);
        } else {
            actions.extend([Poll(0), Poll(1)]);
            actions.extend([Trim].into_iter().filter(|_| world.trimmed_below == 0));
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut after = before.clone();
        let world = &mut after;
        match action {
            Tick => world.tick(self.bound),
            Write(by, what) => self.write(world, by, what),
            BeginLook(at) => self.begin_look(world, at)?,
            EndLook(at) => self.end_look(world, at)?,
            Ask(at) => self.ask(world, at)?,
            AskToo(at) => self.ask_too(world, at)?,
            EndRead(at) => self.end_read(world, at)?,
            Poll(at) => world.poll(at)?,
            LoseAllBut(length) => world.lose_all_but(length),
            Trim => world.trimmed_below = last(&world.log).position,
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises()
    }
}

impl Promises {
    /// Whether a change of this kind touches a key that the answer was made from.
    fn touches(&self, what: What, answer: Answer) -> bool {
        match what {
            Created => !self.has(NotFoundWithoutItsSlug),
            Changed => answer.version != 0 && !self.has(KeyLeftOut),
            Elsewhere | Reset => false,
        }
    }

    pub fn is_unchanged(&self, instance: &Instance, answer: Answer) -> bool {
        let comparable = answer.mark.0 == log_id(&instance.followed) || self.has(KeptFromAnotherLog);
        let mut later = instance.followed.iter().filter(|change| change.position > answer.mark.1);
        comparable && !later.any(|change| self.touches(change.what, answer))
    }

    fn is_fresh(&self, instance: &Instance, answer: Answer) -> bool {
        let has_looked = instance.looked < self.bound || self.has(LookNotDated);
        has_looked && instance.owed.is_none() && self.is_unchanged(instance, answer)
    }

    /// What is kept, unless it will never be fresh again: then it would make more states, and nothing else.
    fn of_use(&self, instance: &Instance, kept: Option<Answer>) -> Option<Answer> {
        kept.filter(|kept| kept.mark.0 != log_id(&instance.followed) || self.is_unchanged(instance, *kept))
    }

    fn write(&self, world: &mut World, by: usize, what: What) {
        world.writes_left -= 1;
        world.commit(what, Some(by));
        let written = mark(&world.log);
        let instance = &mut world.instances[by];
        let (log, position, _) = mark(&instance.followed);
        let waits = !(self.has(WriterDoesNotWait)
            || self.has(WriterWaitsForTheNumber) && position >= written.1
            || self.has(NewLogNotWaitedFor) && log != written.0);
        instance.owed = waits.then_some(written);
        instance.show(written);
    }

    fn begin_look(&self, world: &mut World, at: usize) -> Option<()> {
        let World { log, trimmed_below, instances, .. } = world;
        let instance = &mut instances[at];
        let there: Log = log.iter().filter(|change| change.position >= *trimmed_below).copied().collect();
        let own = mark(&instance.followed);
        let shown = instance.shown.iter().filter(|_| !self.has(ShownNotMissed));
        let mut known = shown.chain([&own]).filter(|mark| mark.0 == log_id(log));
        // Where not even its log's beginning is there, the log is not a later one, but a copy from before.
        let misses = known.any(|mark| !has(&there, mark.2)) || !has(log, own.0);
        let look = Look { read: log.clone(), misses, age: 0 };
        instance.look.replace(look).is_none().then_some(())
    }

    fn end_look(&self, world: &mut World, at: usize) -> Option<()> {
        let Look { mut read, misses, age } = world.instances[at].look.take()?;
        if misses && log_id(&world.log) != log_id(&read) {
            // Another has renewed the log's id meanwhile: look again.
            return Some(());
        }
        if misses {
            world.commit(Reset, None);
            read.clone_from(&world.log);
        }
        let instance = &mut world.instances[at];
        let (former, position, _) = mark(&instance.followed);
        if log_id(&read) == former {
            let new = read.into_iter().filter(|change| change.position > position);
            instance.followed.extend(new.filter(|change| !self.has(ChangeSkipped) || change.position != 1));
        } else {
            // All starts over, but for what is of a log that is newer still.
            instance.shown.retain(|shown| shown.0 != former);
            instance.owed = instance.owed.filter(|owed| owed.0 != former);
            instance.kept = instance.kept.filter(|kept| kept.mark.0 != former || self.has(KeptFromAnotherLog));
            (instance.followed, instance.seen) = (read, 0);
        }
        instance.owed = instance.owed.filter(|owed| !has(&instance.followed, owed.2));
        instance.looked = if self.has(LookDatedByItsEnd) { 0 } else { age };
        instance.torn = false;
        instance.kept = self.of_use(instance, instance.kept);
        instance.forget_followed();
        Some(())
    }

    fn ask(&self, world: &mut World, at: usize) -> Option<()> {
        let now = answer(&world.log);
        let Instance { kept, read, request, .. } = &world.instances[at];
        if *request != Request::None {
            return None;
        }
        let hit = kept.filter(|kept| self.is_fresh(&world.instances[at], *kept));
        let broken = hit.or(*read).map(|answer| world.broken_by(at, answer.version));
        let instance = &mut world.instances[at];
        match (hit, broken) {
            (Some(hit), Some(broken)) => {
                instance.seen = hit.version;
                world.broken.extend(broken);
            }
            (None, Some(_)) if self.has(ReadsBesideAnother) => {
                (instance.kept, instance.seen) = (Some(now), now.version);
                instance.show(now.mark);
            }
            (None, Some(broken)) => instance.request = Request::Waits(broken),
            (_, None) => (instance.read, instance.request) = (Some(now), Request::Leads),
        }
        Some(())
    }

    fn ask_too(&self, world: &mut World, at: usize) -> Option<()> {
        let instance = &mut world.instances[at];
        let is_hit = instance.kept.is_some_and(|kept| self.is_fresh(instance, kept));
        (!is_hit && instance.read.replace(answer(&world.log)).is_none()).then_some(())
    }

    fn end_read(&self, world: &mut World, at: usize) -> Option<()> {
        let (now, instance) = (answer(&world.log), &mut world.instances[at]);
        let mut read = instance.read.take()?;
        if self.has(PositionReadLater) {
            read.mark = now.mark;
        }
        instance.show(read.mark);
        instance.kept = self.of_use(instance, Some(read));
        match mem::take(&mut instance.request) {
            Request::None => {}
            Request::Leads => instance.seen = read.version,
            Request::Waits(broken) if self.is_fresh(instance, read) || self.has(WaiterTakesAnything) => {
                instance.seen = read.version;
                world.broken.extend(broken);
            }
            Request::Waits(_) => (instance.read, instance.request) = (Some(now), Request::Leads),
        }
        Some(())
    }
}
