//! One miss in flight an address: whoever comes meanwhile waits for what it brings.

use std::{
    collections::{HashMap, hash_map},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::watch;

use super::Entry;

/// The misses in flight.
#[derive(Default)]
pub struct Flights(Arc<Mutex<HashMap<Box<str>, Waiting>>>);

/// What a flight has brought.
#[derive(Clone)]
pub enum Landed {
    /// An answer for all who wait, from a snapshot that is not older than this.
    Kept(Arc<Entry>, Instant),
    /// Nothing that others could use: each asks for himself.
    Private,
    /// Postgres does not answer, or has too much to do: that holds for all who wait.
    Refused,
    /// Whoever asked has left: another may ask.
    Left,
}

pub enum Joined {
    /// The first: asks, and tells the others.
    Lead(Flight),
    Wait(Waiting),
}

impl Flights {
    #[must_use]
    pub fn join(&self, address: &str) -> Joined {
        let mut flights = lock(&self.0);
        match flights.entry(address.into()) {
            hash_map::Entry::Occupied(flight) => Joined::Wait(flight.get().clone()),
            hash_map::Entry::Vacant(vacant) => {
                let (told, landed) = watch::channel(None);
                vacant.insert(Waiting(landed));
                Joined::Lead(Flight { flights: self.0.clone(), address: address.into(), told, began: Instant::now() })
            }
        }
    }
}

/// A miss in flight. Dropped, it has left.
pub struct Flight {
    flights: Arc<Mutex<HashMap<Box<str>, Waiting>>>,
    address: Box<str>,
    told: watch::Sender<Option<Landed>>,
    began: Instant,
}

impl Flight {
    pub fn kept(self, entry: Arc<Entry>) {
        let began = self.began;
        self.told.send_replace(Some(Landed::Kept(entry, began)));
    }

    pub fn private(self) {
        self.told.send_replace(Some(Landed::Private));
    }

    pub fn refused(self) {
        self.told.send_replace(Some(Landed::Refused));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Before the others hear of it: who comes from now on begins another.
        lock(&self.flights).remove(&self.address);
        self.told.send_if_modified(|landed| {
            let has_left = landed.is_none();
            if has_left {
                *landed = Some(Landed::Left);
            }
            has_left
        });
    }
}

#[derive(Clone)]
pub struct Waiting(watch::Receiver<Option<Landed>>);

impl Waiting {
    pub async fn landed(mut self) -> Landed {
        let landed = self.0.wait_for(Option::is_some).await;
        landed.ok().and_then(|landed| landed.clone()).unwrap_or(Landed::Left)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_while_one_asks_waits_and_the_next_after_it_begins_anew() {
        let flights = Flights::default();
        let Joined::Lead(first) = flights.join("/terms/a") else { panic!("the first leads") };
        let Joined::Wait(waiting) = flights.join("/terms/a") else { panic!("the second waits") };
        assert!(matches!(flights.join("/terms/b"), Joined::Lead(_)), "another address is another flight");
        drop(first);
        assert!(matches!(waiting.landed().await, Landed::Left));
        let Joined::Lead(next) = flights.join("/terms/a") else { panic!("it has ended") };
        let Joined::Wait(waiting) = flights.join("/terms/a") else { panic!("the second waits") };
        next.refused();
        assert!(matches!(waiting.landed().await, Landed::Refused));
        assert!(matches!(flights.join("/terms/a"), Joined::Lead(_)));
    }
}
