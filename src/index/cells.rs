//! The part of a large partition that a search looks at in part: rows divided into cells, by nearness.
//!
//! Invariants:
//! - a row is in exactly one table: a pile (sealed, not yet divided) or a cell; searches look at every pile, and at the
//!   cells nearest to the query until enough rows have been seen;
//! - the cell that a vector was put into is always looked at by a query of the same values, so every entry finds itself;
//! - rows move in batches so small that no search waits noticeably. While a partition is divided anew, the old cells are
//!   searched beside the new ones, each until its last row has moved.

use std::{mem::size_of, sync::Arc};

use crate::{
    entry::EntryId,
    index::{
        centroids::{Centroids, Sample},
        ids::IdMap,
        nearest::Nearest,
        table::Table,
        vectors::{Query, map_bytes, row_number},
    },
};

/// Rows moved under one lock.
pub(super) const BATCH: usize = 64;
/// Rows seen by a search before it may end.
pub(super) const SEEN: usize = 8_192;
/// The part of all rows that it sees if that is more.
const SEEN_PART: usize = 40;
/// Growth, turnover or shrinkage by this factor calls for new cells.
const CHANGE: usize = 3;

/// A large partition's rows, but for its tail.
#[derive(Debug, Default)]
pub(super) struct Cells {
    /// Sealed tails, the oldest first.
    piles: Vec<Table>,
    divided: Option<Division>,
    /// The division before, until its last row has moved.
    retiring: Option<Division>,
    /// Cell by id. Ids in piles are not in it.
    home: IdMap,
    /// Rows in cells.
    rows: usize,
    /// Rows when the cells were made, and rows that came to them since.
    rows_then: usize,
    arrived: usize,
    /// A build is queued or runs.
    pub(super) building: bool,
}

/// Cells around one set of centroids.
#[derive(Debug)]
struct Division {
    centroids: Arc<Centroids>,
    /// One for each centroid; of a retiring division the last ones may be gone.
    tables: Vec<Table>,
    /// Number of the first cell; no two divisions of a partition share numbers while both live.
    first: u32,
}

impl Division {
    fn new(centroids: Arc<Centroids>, first: u32) -> Self {
        let tables = (0..centroids.len()).map(|_| Table::of_cell()).collect();
        Self { centroids, tables, first }
    }

    fn table_mut(&mut self, number: u32) -> Option<&mut Table> {
        self.tables.get_mut(number.checked_sub(self.first)? as usize)
    }

    fn bytes(&self) -> usize {
        let tables: usize = self.tables.iter().map(Table::bytes).sum();
        self.centroids.bytes() + self.tables.capacity() * size_of::<Table>() + tables
    }
}

/// The next piece of work in a partition.
#[derive(Debug)]
pub(super) enum Task {
    /// Take a sample of this many rows of that many, and divide by it.
    Divide(Plan),
    /// Move these vectors into their cells.
    Move(Batch),
}

/// Rows there are, and between two that are taken for the sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) rows: usize,
    step: usize,
}

/// Vectors to be moved with the rows they had, last row first, and the cells of the division they move to.
#[derive(Debug)]
pub(super) struct Batch {
    from: From,
    vectors: Vec<(u32, Box<[f32]>)>,
    centroids: Arc<Centroids>,
}

#[derive(Debug, Clone, Copy)]
enum From {
    Pile,
    Retiring,
}

/// Where a sample goes on: table and row.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Cursor {
    table: usize,
    row: usize,
}

impl Cells {
    /// Nothing, with a build under way.
    pub(super) fn being_built() -> Self {
        Self { building: true, ..Self::default() }
    }

    /// Adds a sealed tail.
    pub(super) fn pile_up(&mut self, tail: Table) {
        self.piles.push(tail);
    }

    /// Entries.
    pub(super) fn len(&self) -> usize {
        self.home.len() + self.piles.iter().map(|pile| pile.owners.len()).sum::<usize>()
    }

    pub(super) fn dims(&self) -> usize {
        let divisions = [&self.divided, &self.retiring].into_iter().flatten().flat_map(|division| &division.tables);
        self.piles.iter().chain(divisions).find(|table| table.rows() > 0).map_or(0, |table| table.vectors.dims())
    }

    /// Cells with rows, and rows that are in none.
    pub(super) fn shape(&self) -> (usize, usize) {
        let divisions = [&self.divided, &self.retiring].into_iter().flatten().flat_map(|division| &division.tables);
        let cells = divisions.filter(|table| table.rows() > 0).count();
        (cells, self.piled())
    }

    /// Removes `id`; whether it was here.
    pub(super) fn remove(&mut self, id: EntryId) -> bool {
        if let Some(number) = self.home.remove(&id.0) {
            let divisions = [&mut self.divided, &mut self.retiring].into_iter().flatten();
            if let Some(table) = divisions.filter_map(|division| division.table_mut(number)).find(|t| t.owners.has(id))
            {
                let before = table.rows();
                table.remove(id);
                self.rows -= before - table.rows();
            }
            if self.home.len() * 4 < self.home.capacity() {
                self.home.shrink_to(self.home.len() * 2);
            }
            return true;
        }
        let removed = self.piles.iter_mut().any(|pile| pile.remove(id));
        if removed {
            self.piles.retain(|pile| pile.rows() > 0);
        }
        removed
    }

    /// Shows a search what it must see, at least `seen` rows.
    pub(super) fn search<'a>(&'a self, nearest: &mut Nearest<'a>, seen: usize) {
        self.piles.iter().for_each(|pile| nearest.look_into(pile));
        let query = nearest.query().clone();
        let mut cells: Vec<(f32, &Table)> = Vec::new();
        for division in [&self.divided, &self.retiring].into_iter().flatten() {
            let own = division.centroids.nearest(&query);
            division.centroids.scores(&query, |cell, score| {
                if let Some(table) = division.tables.get(cell).filter(|table| table.rows() > 0) {
                    cells.push((if cell == own { f32::INFINITY } else { score }, table));
                }
            });
        }
        let enough = seen.max(self.rows / SEEN_PART);
        // Sorting thousands of cells takes longer than looking into those that count.
        let likely = (2 * enough * cells.len()).div_ceil(self.rows.max(1));
        let nearer = |(a, _): &(f32, &Table), (b, _): &(f32, &Table)| b.total_cmp(a);
        let likely = likely.min(cells.len());
        if likely < cells.len() {
            cells.select_nth_unstable_by(likely, nearer);
        }
        let (first, rest) = cells.split_at_mut(likely);
        let mut seen = 0;
        for part in [first, rest] {
            if seen >= enough {
                break;
            }
            part.sort_unstable_by(nearer);
            for (_, table) in part.iter() {
                if seen >= enough {
                    break;
                }
                nearest.look_into(table);
                seen += table.rows();
            }
        }
    }

    /// Whether there is anything to do.
    pub(super) fn is_due(&self) -> bool {
        !self.piles.is_empty() || self.retiring.is_some() || self.outgrown()
    }

    fn piled(&self) -> usize {
        self.piles.iter().map(Table::rows).sum()
    }

    /// Whether the cells were made for another partition than this has become.
    fn outgrown(&self) -> bool {
        if self.divided.is_none() {
            return self.piled() > 0;
        }
        let (piled, rows) = (self.piled(), self.rows + self.piled());
        let grown = self.arrived + piled > CHANGE * self.rows_then;
        // Rows that wait for these cells count: right after a division all of them do.
        let shrunk = rows * (CHANGE + 1) < self.rows_then;
        self.retiring.is_none() && rows > 0 && (grown || shrunk)
    }

    /// What is to be done next; nothing when nothing is due.
    pub(super) fn next(&self) -> Option<Task> {
        if self.outgrown() {
            let rows = self.rows + self.piled();
            return Some(Task::Divide(Plan { rows, step: (rows / Sample::wanted(rows).max(1)).max(1) }));
        }
        let centroids = Arc::clone(&self.divided.as_ref()?.centroids);
        let pile = self.piles.last().map(|table| (From::Pile, table));
        let retiring = || Some((From::Retiring, self.retiring.as_ref()?.tables.last()?));
        let (from, table) = pile.or_else(retiring)?;
        let rows = table.rows();
        let last = (rows.saturating_sub(BATCH)..rows).rev().map(row_number);
        let vectors = last.map(|row| (row, table.vectors.values(row).into())).collect();
        Some(Task::Move(Batch { from, vectors, centroids }))
    }

    /// Adds rows from `cursor` on to `sample`; where to go on, or `None` at the end.
    pub(super) fn sample(&self, plan: Plan, cursor: Cursor, sample: &mut Sample) -> Option<Cursor> {
        let divided = self.divided.iter().flat_map(|division| &division.tables);
        let tables = self.piles.iter().chain(divided).enumerate().skip(cursor.table);
        let (mut row, mut taken) = (cursor.row, 0);
        for (number, table) in tables {
            while row < table.rows() {
                if taken == BATCH {
                    return Some(Cursor { table: number, row });
                }
                match table.vectors.code_of(row_number(row)) {
                    Some((codes, code)) => sample.push(codes, code.scale),
                    None => sample.push_values(table.vectors.values(row_number(row))),
                }
                (row, taken) = (row + plan.step, taken + 1);
            }
            row -= table.rows();
        }
        None
    }

    /// Puts new cells in place, still empty. The old ones retire. Nothing happens when all rows went meanwhile and others
    /// came, of another dimension.
    pub(super) fn divide(&mut self, Prepared(mut division): Prepared) {
        if division.centroids.dims() != self.dims() {
            return;
        }
        if let Some(before) = self.divided.take() {
            let next = before.first + row_number(before.tables.len());
            // Far from the numbers of the cells before, and from the end of all numbers.
            division.first = if next > u32::MAX / 2 { 0 } else { next };
            self.retiring = Some(before);
        }
        self.rows_then = self.rows + self.piled();
        self.arrived = 0;
        self.divided = Some(division);
    }

    /// Moves a batch into the cells it belongs to. What went meanwhile stays gone. Tables that this empties are handed
    /// out, to be freed without the lock.
    pub(super) fn place(&mut self, placed: &Placed) -> Vec<Table> {
        let current = self.divided.as_ref().map(|division| &division.centroids);
        if !current.is_some_and(|centroids| Arc::ptr_eq(centroids, &placed.centroids)) {
            return Vec::new();
        }
        for (row, vector, cell) in &placed.vectors {
            let table = match placed.from {
                From::Pile => self.piles.last_mut(),
                From::Retiring => self.retiring.as_mut().and_then(|retiring| retiring.tables.last_mut()),
            };
            let Some(owner) = table.and_then(|table| table.take(*row, vector)) else { continue };
            let Some(division) = &mut self.divided else { continue };
            let Some(target) = division.tables.get_mut(*cell) else { continue };
            let number = division.first + row_number(*cell);
            self.home.extend(owner.ids().iter().map(|id| (id.0, number)));
            let before = target.rows();
            target.add_all(owner, vector);
            match placed.from {
                From::Pile => {
                    self.rows += target.rows() - before;
                    self.arrived += 1;
                }
                From::Retiring => self.rows -= 1 - (target.rows() - before),
            }
        }
        self.clear_away()
    }

    fn clear_away(&mut self) -> Vec<Table> {
        let mut emptied = Vec::new();
        while let Some(pile) = self.piles.pop_if(|pile| pile.rows() == 0) {
            emptied.push(pile);
        }
        if let Some(retiring) = &mut self.retiring {
            while let Some(table) = retiring.tables.pop_if(|table| table.rows() == 0) {
                emptied.push(table);
            }
        }
        self.retiring.take_if(|retiring| retiring.tables.is_empty());
        emptied
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        let divisions: usize = [&self.divided, &self.retiring].into_iter().flatten().map(Division::bytes).sum();
        let piles: usize = self.piles.iter().map(|pile| size_of::<Table>() + pile.bytes()).sum();
        divisions + piles + map_bytes(&self.home)
    }
}

/// Cells made ready without a lock.
#[derive(Debug)]
pub(super) struct Prepared(Division);

impl Prepared {
    pub(super) fn new(centroids: Centroids) -> Self {
        Self(Division::new(Arc::new(centroids), 0))
    }
}

/// A batch, and the cell of each vector.
#[derive(Debug)]
pub(super) struct Placed {
    from: From,
    centroids: Arc<Centroids>,
    vectors: Vec<(u32, Box<[f32]>, usize)>,
}

impl Batch {
    /// Finds each vector's cell.
    pub(super) fn find_cells(self) -> Placed {
        let centroids = &self.centroids;
        let cell = |(row, vector): (u32, Box<[f32]>)| {
            let cell = centroids.nearest(&Query::new(&vector));
            (row, vector, cell)
        };
        let vectors = self.vectors.into_iter().map(cell).collect();
        Placed { from: self.from, vectors, centroids: self.centroids }
    }
}
