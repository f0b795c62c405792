//! The promises of the change log, and of the caches that follow it, in every order that the events of a small world can
//! take: a database that may lose its last writes, two instances with their followers and caches, one page, a person who
//! writes and reads it, other people, and a subscriber.
//!
//! With a fault built in, the checker has to find what it breaks. Taken for granted: a commit is one step, and so is a
//! snapshot; no look and no read outlives the failover of its server; an instance outlives it, with what it remembers.
//!
//! `PROMISES_WRITES` makes a larger world.

mod world;

use stateright::{Checker, HasDiscoveries, Model, Property};

use self::{
    Fault::*,
    world::{World, answer, has, log_id},
};

const NO_GAPS: &str = "positions have no gaps, in the log and as they are followed";
const OWN_WRITES: &str = "who wrote through an instance and reads there sees that version or later";
const BOUNDED: &str = "an answer shows what was true less than the bound ago";
const NEVER_BACK: &str = "what a reader sees on an instance never goes back, but for a restored database";
const AS_FOLLOWED: &str = "no answer is older than what its instance had followed when it was asked for";
const NOTHING_LEFT: &str = "once all is followed, what counts as unchanged is what the database says";
const FED: &str = "a subscriber is told each change once and in order, or a 410";

/// What can be built wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    ChangeSkipped,
    /// The position is read after the content, in another snapshot.
    PositionReadLater,
    KeyLeftOut,
    NotFoundWithoutItsSlug,
    /// The follower may stand still: nobody asks when it looked.
    LookNotDated,
    LookDatedByItsEnd,
    WriterDoesNotWait,
    /// The writer waits for the write's number, whichever change stands there.
    WriterWaitsForTheNumber,
    /// The writer doesn't wait for what was written to a log that the instance has not met yet.
    NewLogNotWaitedFor,
    /// Who waits for another's read takes whatever it brings.
    WaiterTakesAnything,
    /// Who finds another's read under way makes one of their own.
    ReadsBesideAnother,
    /// Only the loss of the last change that was followed is noticed, not of what was shown beyond it.
    ShownNotMissed,
    /// Answers of another log are kept, and compared by their numbers.
    KeptFromAnotherLog,
}

/// How large the world is. It is taken in parts: all of it at once has too many states for a test.
#[derive(Clone, Copy)]
struct Promises {
    writes: u8,
    writers: usize,
    followers: usize,
    /// Without any there is the subscriber instead.
    caches: usize,
    /// Whether something else can happen between a look's beginning and its end.
    slow_looks: bool,
    slow_reads: bool,
    failovers: u8,
    /// A look vouches for what is kept for less than so many ticks after it began.
    bound: u8,
    fault: Option<Fault>,
}

const READS: Promises = Promises {
    writes: 2,
    writers: 2,
    followers: 1,
    caches: 1,
    slow_looks: true,
    slow_reads: true,
    failovers: 0,
    bound: 2,
    fault: None,
};
const FAILOVER: Promises = Promises { writers: 1, followers: 2, slow_reads: false, failovers: 1, bound: 1, ..READS };
const BOTH_CACHES: Promises = Promises { caches: 2, slow_looks: false, ..FAILOVER };
const FEED: Promises = Promises { caches: 0, ..FAILOVER };

/// What has to hold in every state.
fn promises() -> Vec<Property<Promises>> {
    vec![
        Property::always(NO_GAPS, |_, world: &World| {
            let mut logs = world.instances.iter().map(|instance| &instance.followed).chain([&world.log]);
            logs.all(|log| log.iter().zip(0..).all(|(change, position)| change.position == position))
        }),
        Property::always(OWN_WRITES, |_, world: &World| !world.broken.contains(OWN_WRITES)),
        Property::always(BOUNDED, |_, world: &World| !world.broken.contains(BOUNDED)),
        Property::always(NEVER_BACK, |_, world: &World| !world.broken.contains(NEVER_BACK)),
        Property::always(AS_FOLLOWED, |_, world: &World| !world.broken.contains(AS_FOLLOWED)),
        Property::always(NOTHING_LEFT, |model: &Promises, world: &World| {
            let mut knowing = world.instances.iter().filter(|instance| world.is_known_to(instance));
            knowing.all(|instance| {
                let kept = instance.kept.filter(|kept| model.is_unchanged(instance, *kept));
                kept.is_none_or(|kept| kept.version == answer(&world.log).version)
            })
        }),
        Property::always(FED, |_, world: &World| {
            let ((log, _, id), all) = world.told;
            let is_known = world.instances.iter().all(|instance| world.is_known_to(instance));
            !is_known || log != log_id(&world.log) || all && has(&world.log, id)
        }),
    ]
}

impl Promises {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Visits every state: at least so many.
    fn hold(self, states: usize) {
        let writes = std::env::var("PROMISES_WRITES").map_or(self.writes, |writes| writes.parse().unwrap());
        let checker = Promises { writes, ..self }.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        checker.assert_properties();
        assert!(checker.is_done());
        eprintln!("{} states, up to {} steps away", checker.unique_state_count(), checker.max_depth());
        assert!(checker.unique_state_count() >= states, "{} states", checker.unique_state_count());
    }

    /// Finds what a fault breaks.
    fn broken_by(self, fault: Fault, broken: &[&'static str]) {
        let all = HasDiscoveries::AllOf(broken.iter().copied().collect());
        let checker = Promises { fault: Some(fault), ..self }.checker().finish_when(all).spawn_bfs().join();
        for promise in broken {
            checker.assert_any_discovery(promise);
        }
    }
}

#[test]
fn all_reads_are_as_promised() {
    READS.hold(50_000);
}

#[test]
fn what_a_database_loses_is_missed() {
    FAILOVER.hold(80_000);
}

#[test]
fn neither_of_two_caches_keeps_what_was_lost() {
    BOTH_CACHES.hold(60_000);
}

#[test]
fn a_subscriber_misses_nothing_in_silence() {
    FEED.hold(160_000);
}

/// A test each: the fault, the world that shows it, and what it breaks there.
macro_rules! faults {
    ($($test:ident: $fault:ident, $world:ident => $($broken:ident),+;)+) => {$(
        #[test]
        fn $test() {
            $world.broken_by($fault, &[$($broken),+]);
        }
    )+};
}

faults! {
    a_change_that_is_not_followed: ChangeSkipped, READS => NO_GAPS, BOUNDED, OWN_WRITES, NOTHING_LEFT;
    a_change_that_is_not_told: ChangeSkipped, FEED => FED;
    a_position_of_a_later_snapshot: PositionReadLater, READS => BOUNDED, AS_FOLLOWED, NOTHING_LEFT;
    a_touched_key_that_is_left_out: KeyLeftOut, READS => BOUNDED, OWN_WRITES, NOTHING_LEFT;
    a_404_without_its_slugs_key: NotFoundWithoutItsSlug, READS => BOUNDED, OWN_WRITES, NOTHING_LEFT;
    a_follower_that_stands_still: LookNotDated, READS => BOUNDED;
    a_look_that_is_dated_by_its_end: LookDatedByItsEnd, READS => BOUNDED;
    a_writer_who_does_not_wait: WriterDoesNotWait, READS => OWN_WRITES;
    a_writer_who_waits_for_a_number: WriterWaitsForTheNumber, FAILOVER => OWN_WRITES;
    a_writer_whose_instance_lags_a_log: NewLogNotWaitedFor, FAILOVER => OWN_WRITES;
    a_waiter_who_takes_anything: WaiterTakesAnything, READS => AS_FOLLOWED, OWN_WRITES, BOUNDED;
    two_reads_of_an_address_at_once: ReadsBesideAnother, READS => NEVER_BACK;
    an_answer_whose_loss_is_not_noticed: ShownNotMissed, FAILOVER => BOUNDED, NOTHING_LEFT;
    a_place_whose_loss_is_not_noticed: ShownNotMissed, FEED => FED;
    an_answer_of_another_log: KeptFromAnotherLog, FAILOVER => BOUNDED, NOTHING_LEFT;
}
