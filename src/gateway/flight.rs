//! Single flight: one upstream call for all who ask the same thing at the same time.
//!
//! A flight is a log that its leader appends to and any number of readers follow at their own pace: first the head
//! (what the answer will be), then chunks, then the end. Nothing is copied per follower. A leader that vanishes without
//! a word leaves the flight abandoned, and its followers start over.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;

use super::lead::Head;
use crate::{key::Fingerprint, wire::Answer};

/// What makes two requests the same flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlightKey {
    /// The question.
    pub fingerprint: Fingerprint,
    /// Digest of what is not in the fingerprint but changes what the flight may answer with: token limit and directives.
    pub terms: u64,
}

/// A piece of the upstream's body.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// As received.
    pub raw: Bytes,
    /// For a client that did not ask for usage that we asked for: `None` drops the chunk.
    pub without_usage: Option<Bytes>,
}

impl Chunk {
    /// A piece that is the same for everybody.
    pub fn plain(raw: Bytes) -> Self {
        Self { without_usage: Some(raw.clone()), raw }
    }
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Cleanly.
    Complete,
    /// Broken: clients must see their connection abort.
    Broken,
}

#[derive(Debug, Default)]
struct Log {
    head: Option<Head>,
    chunks: Vec<Chunk>,
    end: Option<End>,
    answer: Option<Arc<Answer>>,
}

/// One running fetch.
#[derive(Debug)]
pub struct Flight {
    log: Mutex<Log>,
    grown: watch::Sender<()>,
    /// A reader wants to stream.
    streams: AtomicBool,
    /// Its place among those that are held in memory: until the last reader has read it.
    _room: Room,
}

impl Flight {
    fn new(room: Room) -> Self {
        let grown = watch::Sender::new(());
        Self { log: Mutex::default(), grown, streams: AtomicBool::new(false), _room: room }
    }

    fn update(&self, change: impl FnOnce(&mut Log)) {
        change(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner));
        self.grown.send_replace(());
    }

    fn read<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Which flight it is: its key, and which of those that had this key one after the other.
#[derive(Debug, Clone)]
pub struct Place {
    /// What it answers.
    pub key: FlightKey,
    flight: Weak<Flight>,
}

/// The leader's side: appends to the log; dropping it without an end abandons the flight.
#[derive(Debug)]
pub struct Leader {
    flight: Arc<Flight>,
    key: FlightKey,
    flights: Flights,
    bytes: AtomicUsize,
}

impl Leader {
    /// Which flight it leads.
    pub fn place(&self) -> Place {
        Place { key: self.key, flight: Arc::downgrade(&self.flight) }
    }

    /// Says what the answer will be. Only the first call counts.
    pub fn head(&self, head: Head) {
        self.flight.update(|log| {
            log.head.get_or_insert(head);
        });
    }

    /// Says what the answer is when there is nothing to stream, and closes the flight. It is off the board before
    /// anybody is told: who asks after an answer was given must not be given the same one again.
    pub fn resolve(self, head: Head) {
        self.close_to_joiners();
        self.flight.update(|log| {
            log.head.get_or_insert(head);
            log.end.get_or_insert(End::Complete);
        });
    }

    /// Appends chunks of the body.
    pub fn push(&self, chunks: impl IntoIterator<Item = Chunk>) {
        let chunks: Vec<Chunk> = chunks.into_iter().collect();
        let bytes = chunks.iter().map(|chunk| chunk.raw.len()).sum();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.flight.update(|log| log.chunks.extend(chunks));
    }

    /// Whether the log holds less than `limit` bytes.
    pub fn has_room(&self, limit: usize) -> bool {
        self.bytes.load(Ordering::Relaxed) < limit
    }

    /// What makes this flight.
    pub const fn key(&self) -> FlightKey {
        self.key
    }

    /// Returns once no reader has been left for `patience`; then nobody can join any more.
    pub async fn abandoned(&self, patience: Duration) {
        loop {
            self.flight.grown.closed().await;
            tokio::time::sleep(patience).await;
            if self.is_orphan() {
                self.close_to_joiners();
                if self.is_orphan() {
                    return;
                }
            }
        }
    }

    /// Closes the flight: later requests start a new one. `answer` is the whole of it, for readers of another shape.
    pub fn end(self, end: End, answer: Option<Arc<Answer>>) {
        self.flights.remove(self.key, &self.flight);
        self.flight.update(|log| {
            log.end.get_or_insert(end);
            log.answer = answer;
        });
    }

    /// Takes the flight off the board, so that nobody joins any more; readers go on.
    pub fn close_to_joiners(&self) {
        self.flights.remove(self.key, &self.flight);
    }

    /// Whether somebody who reads this flight wants to stream.
    pub fn has_streaming_readers(&self) -> bool {
        self.flight.streams.load(Ordering::Relaxed)
    }

    /// True when no reader is left.
    pub fn is_orphan(&self) -> bool {
        self.flight.grown.receiver_count() == 0
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.flights.remove(self.key, &self.flight);
        self.flight.update(|log| {
            log.head.get_or_insert(Head::Abandoned);
            log.end.get_or_insert(End::Broken);
        });
    }
}

/// A client's side of a flight.
#[derive(Debug)]
pub struct Reader {
    flight: Arc<Flight>,
    grown: watch::Receiver<()>,
    next: usize,
}

impl Reader {
    fn new(flight: Arc<Flight>) -> Self {
        let grown = flight.grown.subscribe();
        Self { flight, grown, next: 0 }
    }

    /// What its flight will have come to.
    pub fn ending(&self) -> Ending {
        Ending(Arc::clone(&self.flight))
    }

    /// Says that this reader wants tokens as they come: a leader that has not asked yet may then ask for a stream.
    pub fn wants_stream(&self) {
        self.flight.streams.store(true, Ordering::Relaxed);
    }

    /// Waits for the head.
    pub async fn head(&mut self) -> Head {
        loop {
            self.grown.borrow_and_update();
            if let Some(head) = self.flight.read(|log| log.head.clone()) {
                return head;
            }
            if self.grown.changed().await.is_err() {
                return Head::Abandoned;
            }
        }
    }

    /// Waits for what follows: all chunks that are there, or the end.
    pub async fn next(&mut self) -> Result<Vec<Chunk>, End> {
        loop {
            self.grown.borrow_and_update();
            let next = self.next;
            let (chunks, end) = self.flight.read(|log| (log.chunks.get(next..).unwrap_or(&[]).to_vec(), log.end));
            if !chunks.is_empty() {
                self.next += chunks.len();
                return Ok(chunks);
            }
            if let Some(end) = end {
                return Err(end);
            }
            if self.grown.changed().await.is_err() {
                return Err(End::Broken);
            }
        }
    }
}

impl Reader {
    /// Waits for the end: how it ended, and the whole answer if there is one.
    pub async fn end(&mut self) -> (End, Option<Arc<Answer>>) {
        loop {
            self.grown.borrow_and_update();
            if let Some(ended) = self.flight.read(|log| log.end.map(|end| (end, log.answer.clone()))) {
                return ended;
            }
            if self.grown.changed().await.is_err() {
                return (End::Broken, None);
            }
        }
    }
}

/// What will be known once a flight has ended.
#[derive(Debug)]
pub struct Ending(Arc<Flight>);

impl Ending {
    /// The whole answer; `None` while the flight lasts, or when it came to none.
    pub fn answer(&self) -> Option<Arc<Answer>> {
        self.0.read(|log| log.answer.clone())
    }
}

/// A place on a flight, held for whoever comes to read it: while it is held, the flight is not abandoned.
#[derive(Debug)]
pub struct Seat(Reader);

impl Seat {
    /// A reader of the flight, from its beginning.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.0.flight))
    }
}

/// Either side of a flight.
#[derive(Debug)]
pub enum Joined {
    /// First to ask: call the upstream (or the cache) and tell the rest.
    Lead(Leader, Reader),
    /// Somebody is asking already.
    Follow(Reader),
    /// Too many wait already; go alone.
    Full,
    /// As many flights as may be are held in memory.
    NoRoom,
}

/// A flight's place among those held in memory.
#[derive(Debug)]
struct Room(Arc<AtomicUsize>);

impl Room {
    fn take(held: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let room = Self(Arc::clone(held));
        (held.fetch_add(1, Ordering::Relaxed) < limit).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All running flights.
#[derive(Debug, Clone)]
pub struct Flights {
    board: Arc<Mutex<HashMap<FlightKey, Weak<Flight>>>>,
    max_followers: usize,
    held: Arc<AtomicUsize>,
    max_held: usize,
}

impl Flights {
    /// An empty board; at most `max_followers` wait on one flight, at most `max_held` flights are in memory.
    pub fn new(max_followers: usize, max_held: usize) -> Self {
        Self { board: Arc::default(), max_followers, held: Arc::default(), max_held }
    }

    /// Joins the flight of `key`, or starts it.
    pub fn join(&self, key: FlightKey) -> Joined {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = board.get(&key).and_then(Weak::upgrade) {
            if flight.grown.receiver_count() > self.max_followers {
                return Joined::Full;
            }
            return Joined::Follow(Reader::new(flight));
        }
        let Some((leader, reader)) = self.alone(key) else { return Joined::NoRoom };
        board.insert(key, Arc::downgrade(&leader.flight));
        drop(board);
        Joined::Lead(leader, reader)
    }

    /// A seat on this very flight, if it runs and has room: a later flight of the same key is another one.
    pub fn take_seat(&self, place: &Place) -> Option<Seat> {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let flight = board.get(&place.key).filter(|running| running.ptr_eq(&place.flight)).and_then(Weak::upgrade)?;
        (flight.grown.receiver_count() <= self.max_followers).then(|| Seat(Reader::new(flight)))
    }

    /// A flight that nobody can join, if there is room for one: for a request that goes alone but is answered the same way.
    pub fn alone(&self, key: FlightKey) -> Option<(Leader, Reader)> {
        let flight = Arc::new(Flight::new(Room::take(&self.held, self.max_held)?));
        let reader = Reader::new(Arc::clone(&flight));
        Some((Leader { flight, key, flights: self.clone(), bytes: AtomicUsize::new(0) }, reader))
    }

    /// Flights running now.
    pub fn len(&self) -> usize {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Clients that wait on running flights.
    pub fn waiting(&self) -> usize {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.values().filter_map(Weak::upgrade).map(|flight| flight.grown.receiver_count()).sum()
    }

    /// True when nothing runs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn remove(&self, key: FlightKey, flight: &Arc<Flight>) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        if board.get(&key).is_some_and(|running| std::ptr::eq(running.as_ptr(), Arc::as_ptr(flight))) {
            board.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who joins by meaning may hold a listing of a flight that has ended; a seat on its successor may be on their own.
    #[test]
    fn a_seat_is_on_the_flight_that_was_seen_not_on_a_later_one_of_the_same_key() {
        let flights = Flights::new(4, 4);
        let key = FlightKey { fingerprint: Fingerprint::from_bytes([1; 32]), terms: 0 };
        let lead = || match flights.join(key) {
            Joined::Lead(leader, _reader) => leader,
            other => panic!("{other:?}"),
        };
        let first = lead();
        let ended = first.place();
        assert!(flights.take_seat(&ended).is_some());
        first.resolve(Head::Unsatisfied);
        let second = lead();
        assert!(flights.take_seat(&ended).is_none());
        assert!(flights.take_seat(&second.place()).is_some());
    }

    #[test]
    fn a_flight_takes_room_until_its_last_reader_has_gone() {
        let flights = Flights::new(4, 1);
        let key = |n| FlightKey { fingerprint: Fingerprint::from_bytes([n; 32]), terms: 0 };
        let Joined::Lead(leader, reader) = flights.join(key(1)) else { panic!("the first has room") };
        assert!(matches!(flights.join(key(2)), Joined::NoRoom));
        assert!(matches!(flights.join(key(1)), Joined::Follow(_)), "who joins needs none");
        leader.end(End::Complete, None);
        assert!(flights.alone(key(2)).is_none(), "a slow reader still holds its log");
        drop(reader);
        assert!(flights.alone(key(2)).is_some());
    }
}
