//! From starting a gateway to being ready, and its memory then: over an empty directory and over a store of entries.

use std::path::Path;

use crate::{
    figures::{Named, Round},
    options::{Options, Section},
    process::{self, Started},
    rows::Row,
    seed,
};

/// Starts over an empty directory; half as many over the full one.
const STARTS: usize = 5;
/// Fewer entries say nothing about the memory that each takes.
const ENOUGH: usize = 10_000;

/// Measures starts.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    if !options.wants(Section::Start) && !options.wants(Section::Memory) {
        return Ok(Vec::new());
    }
    let times = if options.quick { 1 } else { STARTS };
    options.tell("starts over an empty directory");
    let empty = starts(options, None, times)?;
    let mut rows = Vec::new();
    if options.wants(Section::Start) {
        rows.extend(ready("empty", "Start to ready, empty store", &empty));
    }
    if options.wants(Section::Memory) {
        let resident = rounds(&empty, |started| started.resident / 1e6);
        rows.extend(Named::value("memory-start", "Resident after the start", "MB", "bare hyper server").row(&resident));
    }
    if options.entries > 0 {
        options.tell(&format!("filling a store with {} entries", options.entries));
        let seeded = seed::store(options.entries)?;
        options.tell("starts over it");
        let full = starts(options, Some(seeded.path()), times.div_ceil(2))?;
        rows.extend(over_entries(options, &empty, &full));
    }
    Ok(rows)
}

/// A start of the gateway and one of the bare server beside it.
type Pair = (Started, Started);

fn starts(options: &Options, data: Option<&Path>, times: usize) -> anyhow::Result<Vec<Pair>> {
    let mut starts = Vec::new();
    for _ in 0..times {
        match process::start(data)? {
            Some(started) => starts.push((started, process::start_bare()?)),
            None => {
                options.tell("a start that does not count: the machine was too busy for the gateway to learn in time");
            }
        }
    }
    Ok(starts)
}

fn rounds(starts: &[Pair], of: fn(&Started) -> f64) -> Vec<Round> {
    starts.iter().map(|(own, bare)| Round { value: of(own), reference: Some(of(bare)) }).collect()
}

fn ready(over: &str, title: &str, starts: &[Pair]) -> Vec<Row> {
    let listening = format!("{title}: listening");
    let named = [
        Named::value(&format!("start-ready-{over}"), title, "s", "bare hyper server").row(&rounds(starts, |s| s.ready)),
        Named::value(&format!("start-listening-{over}"), &listening, "s", "bare hyper server")
            .row(&rounds(starts, |s| s.listening)),
    ];
    named.into_iter().flatten().collect()
}

fn over_entries(options: &Options, empty: &[Pair], full: &[Pair]) -> Vec<Row> {
    let entries = options.entries;
    let mut rows = Vec::new();
    if options.wants(Section::Start) {
        rows.extend(ready(&entries.to_string(), &format!("Start to ready, {entries} entries"), full));
    }
    if options.wants(Section::Memory) {
        let title = format!("Resident after a start over {entries} entries");
        let named = Named::value(&format!("memory-start-{entries}"), &title, "MB", "bare hyper server");
        rows.extend(named.row(&rounds(full, |started| started.resident / 1e6)));
    }
    if options.wants(Section::Memory) && entries >= ENOUGH {
        let named = Named::value("memory-per-entry", "Memory of an entry in a large partition", "kB", "");
        let each = empty.iter().zip(full).map(|((empty, _), (full, _))| Round {
            value: (full.resident - empty.resident) / entries as f64 / 1e3,
            reference: None,
        });
        rows.extend(named.row(&each.collect::<Vec<_>>()));
    }
    rows
}
