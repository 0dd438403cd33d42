//! Parts of the library on their own, through its public functions, each beside the plainest way to do the like.

use std::hint::black_box;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use semblance::{
    entry::EntryId,
    index::{VectorIndex, flat::Flat},
    key::{Fingerprint, Partition, Scope, ScopeParts},
    matcher::guard,
    similarity::{Embedding, Similarity, dot},
    store::{
        Durability, Store,
        sqlite::{SqliteStore, StoreSettings},
    },
    wire::{Answer, Family, Fresh, RecordSettings, Recorder, canonical, chat::ChatSettings, sse},
};
use serde_json::Value;

use crate::{
    alone::Models,
    figures::Named,
    floor,
    load::Asked,
    options::{Options, Section},
    rows::Row,
    sampler::row,
    seed::Seeder,
};

/// Of 12 tokens each, and of the same meaning.
const CACHED: &str = "How do I reset the password of my account?";
const ASKED: &str = "How can I set a new password for my account?";
const DIMENSIONS: usize = 384;
const VECTORS: usize = 10_000;
const NEIGHBOURS: usize = 8;
const FLOOR: f32 = 0.70;
/// Entries that are written together.
const GROUP: usize = 100;

/// Measures the parts.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    if !options.wants(Section::Micro) {
        return Ok(Vec::new());
    }
    let parts = [keys, decisions, search, storage, streams];
    Ok(parts.into_iter().map(|part| part(options)).collect::<anyhow::Result<Vec<_>>>()?.concat())
}

/// A row that is held against the plain way, or against nothing.
fn named(id: &str, title: &str, reference: &str) -> Named {
    let id = format!("micro-{id}");
    if reference.is_empty() { Named::value(&id, title, "us", "") } else { Named::ratio(&id, title, "us", reference) }
}

fn keys(options: &Options) -> anyhow::Result<Vec<Row>> {
    let body = Bytes::from(Asked { question: CACHED, ..Asked::default() }.body());
    let settings = ChatSettings::default();
    let mut plain = || {
        black_box(serde_json::from_slice::<Value>(&body)?);
        Ok(())
    };
    let mut canonical = || {
        black_box(canonical::canonical(&body)?);
        Ok(())
    };
    let mut fingerprint = || {
        let request = semblance::wire::parse(Family::Chat, "/v1/chat/completions", &body, &settings);
        let Ok(request) = request else { bail!("no chat request") };
        let (tenant, upstream) = ("bench", "http://127.0.0.1/v1");
        let scope = ScopeParts { principal: None, tenant, upstream, organisation: &[], namespace: "" };
        let partition = Partition::derive(&Scope::derive(&scope), request.family.as_str(), &request.partition);
        black_box(Fingerprint::derive(&partition, &request.last_turn));
        Ok(())
    };
    let serde = "serde_json of the same body";
    let rows = [
        row(options, named("canonical", "Canonical bytes of a chat body", serde), &mut canonical, Some(&mut plain))?,
        row(options, named("keys", "Chat body to fingerprint", serde), &mut fingerprint, Some(&mut plain))?,
    ];
    Ok(rows.into_iter().flatten().collect())
}

fn decisions(options: &Options) -> anyhow::Result<Vec<Row>> {
    let models = Models::load()?;
    let mut guard = || {
        black_box(guard::check(CACHED, ASKED));
        Ok(())
    };
    let rows = [
        row(options, named("guard", "Guard, a pair of 12 tokens each", ""), &mut guard, None)?,
        row(options, named("embed", "Embedding, 12 tokens", ""), &mut || models.embed(ASKED), None)?,
        row(
            options,
            named("verify", "Verifier, a pair of 12 tokens each", "embedding of 12 tokens"),
            &mut || models.verify(CACHED, ASKED),
            Some(&mut || models.embed(ASKED)),
        )?,
    ];
    Ok(rows.into_iter().flatten().collect())
}

fn search(options: &Options) -> anyhow::Result<Vec<Row>> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut vector = || Embedding::normalised((0..DIMENSIONS).map(|_| random.f32() - 0.5).collect());
    let vectors: Vec<Embedding> = (0..VECTORS).filter_map(|_| vector()).collect();
    let query = vector().context("no vector")?;
    let index = Flat::new();
    (0..).map(EntryId).zip(&vectors).for_each(|(id, vector)| index.insert(id, vector));
    let floor = Similarity::new(FLOOR).context("no similarity")?;
    let mut search = || {
        black_box(index.search(&query, NEIGHBOURS, floor));
        Ok(())
    };
    let mut scan = || {
        let similar = vectors.iter().filter(|vector| dot(vector.values(), query.values()) >= FLOOR);
        black_box(similar.count());
        Ok(())
    };
    let named = named("search-10k", "Search of 10 000 vectors", "f32 scan of the same");
    Ok(row(options, named, &mut search, Some(&mut scan))?.into_iter().collect())
}

fn storage(options: &Options) -> anyhow::Result<Vec<Row>> {
    let (ours, bare) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let store = runtime.block_on(async { SqliteStore::open(ours.path(), StoreSettings::default()) })?;
    let plain = Plain::open(&bare)?;
    let mut seeder = Seeder::new("micro", DIMENSIONS)?;
    let answer = floor::answer();
    let mut number = 0;
    let mut admit = || {
        for _ in 0..GROUP {
            number += 1;
            let entry = seeder.entry(store.next_id(Fingerprint::from_bytes([0; 32])), number).context("no vector")?;
            // Dropping the future does not take the write back; the flush waits for it.
            drop(store.admit(entry, Durability::Behind));
        }
        runtime.block_on(store.flush())?;
        Ok(())
    };
    let title = format!("Store, {GROUP} entries admitted and on disk");
    let reference = format!("SQLite, {GROUP} bodies in one transaction");
    let admitted =
        row(options, named("store-admit", &title, &reference), &mut admit, Some(&mut || plain.insert(&answer)))?;
    let wanted = seeder.entry(store.next_id(Fingerprint::from_bytes([0; 32])), 1).context("no vector")?.fingerprint;
    let mut find = || {
        let found = runtime.block_on(store.find(wanted))?;
        found.map(|found| drop(black_box(found))).context("the entry is gone")
    };
    let title = "Store, an entry read by fingerprint";
    let found =
        row(options, named("store-find", title, "SQLite, a body read by key"), &mut find, Some(&mut || plain.read()))?;
    Ok(admitted.into_iter().chain(found).collect())
}

/// The least that SQLite does: a table of keys and bodies, written as durably.
struct Plain {
    connection: rusqlite::Connection,
    last: std::cell::Cell<u64>,
}

impl Plain {
    fn open(dir: &tempfile::TempDir) -> anyhow::Result<Self> {
        let connection = rusqlite::Connection::open(dir.path().join("plain.sqlite3"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch("CREATE TABLE bodies (key BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID")?;
        Ok(Self { connection, last: std::cell::Cell::new(0) })
    }

    fn key(number: u64) -> [u8; 32] {
        *blake3::hash(&number.to_le_bytes()).as_bytes()
    }

    fn insert(&self, body: &[u8]) -> anyhow::Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        for _ in 0..GROUP {
            self.last.set(self.last.get() + 1);
            let mut insert = transaction.prepare_cached("INSERT INTO bodies VALUES (?1, ?2)")?;
            insert.execute((Self::key(self.last.get()).as_slice(), body))?;
        }
        Ok(transaction.commit()?)
    }

    fn read(&self) -> anyhow::Result<()> {
        let mut select = self.connection.prepare_cached("SELECT body FROM bodies WHERE key = ?1")?;
        let body: Vec<u8> = select.query_row([Self::key(1).as_slice()], |row| row.get(0))?;
        black_box(body);
        Ok(())
    }
}

fn streams(options: &Options) -> anyhow::Result<Vec<Row>> {
    let stream = floor::event_stream()?;
    let head = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))]);
    let record = || {
        let mut recorder = Recorder::new(Family::Chat, RecordSettings::default(), false);
        recorder.head(StatusCode::OK, &head);
        let (mut reader, mut frames) = (sse::Reader::of(Family::Chat, stream.len()), Vec::new());
        reader.feed(&stream, &mut frames)?;
        frames.iter().for_each(|frame| recorder.frame(frame));
        let Ok(answer) = recorder.finish_stream(true).recorded() else { bail!("no whole answer") };
        Ok(answer)
    };
    let answer = record()?;
    let fresh = Fresh::original(&answer);
    let mut parse = || {
        for event in stream.split(|byte| *byte == b'\n') {
            let data = event.strip_prefix(b"data: ").filter(|data| data.starts_with(b"{"));
            data.map(serde_json::from_slice::<Value>).transpose().map(black_box)?;
        }
        Ok(())
    };
    let mut recorded = || {
        black_box(record()?);
        Ok(())
    };
    let mut rendered = || {
        black_box(Answer::render_stream(&answer, &fresh, false));
        Ok(())
    };
    let (recording, replaying) = ("Recording a 50-event stream", "Rendering a 50-event replay");
    let serde = "serde_json of its events";
    let rows = [
        row(options, named("stream-record", recording, serde), &mut recorded, Some(&mut parse))?,
        row(options, named("stream-replay", replaying, serde), &mut rendered, Some(&mut parse))?,
    ];
    Ok(rows.into_iter().flatten().collect())
}
