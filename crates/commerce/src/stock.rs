//! Stock: every change is a line of the ledger, and the sum of a variant's lines is what there is.

use crate::check;
use crate::command::{Operation, Reply};
use crate::effect::{STOCK_CHANGED, StockEffect};
use crate::machine::Step;
use crate::refusal::{Refusal, Shortage};
use crate::state::{About, LedgerRow, Row, StockRow};
use crate::view::Change;
use model::commerce::Kind;
use model::commerce::order::OrderLine;
use model::commerce::stock::{LedgerLine, LedgerReason, StockError, Taken};
use std::collections::BTreeMap;

/// What a change of stock wrote.
type Lines = Vec<LedgerLine>;

impl Step<'_> {
    pub(crate) fn operate_stock(&mut self, operation: Operation) -> Result<Reply, Refusal> {
        match operation {
            Operation::StockAdjust { variant, location, change, reason, note } => {
                check::text("note", &note, check::NOTE_BYTES_MAX)?;
                let stated = [
                    LedgerReason::Received,
                    LedgerReason::Lost,
                    LedgerReason::Returned,
                    LedgerReason::Counted,
                ];
                if !stated.contains(&reason) {
                    return Err(Refusal::invalid("reason", "is not one that can be stated"));
                }
                self.location(location)?;
                self.change_stock(variant, &About::Operator(note), |row| {
                    Ok(vec![row.item.adjust(variant, location, change, reason).map_err(stock_error)?])
                })
            }
            Operation::StockCount { variant, location, on_hand, note } => {
                check::text("note", &note, check::NOTE_BYTES_MAX)?;
                self.location(location)?;
                self.change_stock(variant, &About::Operator(note), |row| {
                    Ok(vec![row.item.count(variant, location, on_hand).map_err(stock_error)?])
                })
            }
            Operation::StockMove { variant, from, to, quantity, note } => {
                check::text("note", &note, check::NOTE_BYTES_MAX)?;
                if from == to || quantity == 0 {
                    return Err(Refusal::invalid("quantity", "nothing is moved"));
                }
                self.location(to)?;
                self.change_stock(variant, &About::Operator(note), |row| moved(row, from, to, quantity))
            }
            Operation::StockPolicy { variant, tracked, policy } => {
                self.change_stock(variant, &About::Operator(String::new()), |row| {
                    (row.item.tracked, row.item.policy) = (tracked, policy);
                    Ok(Vec::new())
                })
            }
            Operation::StockKeepBack { variant, location, safety } => {
                if safety < 0 {
                    return Err(Refusal::invalid("safety", "must not be below zero"));
                }
                self.change_stock(variant, &About::Operator(String::new()), |row| {
                    row.item.keep_back(location, safety).map_err(stock_error)?;
                    Ok(Vec::new())
                })
            }
            _ => Err(Refusal::Malformed),
        }?;
        Ok(Reply::Done)
    }

    pub(crate) fn location(&mut self, number: u64) -> Result<(), Refusal> {
        let found = self.state.locations.get(Kind::Location.key(number)).is_some();
        if found { Ok(()) } else { Err(Refusal::unknown("location", "location")) }
    }

    /// Changes a variant's stock and writes what changed into its ledger: whole, or not at all.
    pub(crate) fn change_stock(
        &mut self,
        variant: u64,
        about: &About,
        change: impl FnOnce(&mut StockRow) -> Result<Lines, Refusal>,
    ) -> Result<(), Refusal> {
        let key = Kind::Variant.key(variant);
        let row = self.state.stock.get(key).ok_or_else(|| Refusal::unknown("variant", "variant"))?;
        let mut row = row.0.clone();
        let sold = row.sold;
        let lines = change(&mut row)?;
        let available = row.item.available();
        for line in lines {
            let sequence = row.ledger_lines;
            row.ledger_lines += 1;
            let entry = LedgerRow { sequence, at: self.now, line, about: about.clone() };
            self.state.ledger.insert_new(ledger_key(variant, sequence), Row(entry));
            let body = StockEffect { product: row.product, available, line, about: about.clone() };
            self.tell(STOCK_CHANGED, key, &body);
        }
        self.show(Change::Stock { variant, available, sold: row.sold - sold });
        self.state.stock.insert(key, Row(row));
        Ok(())
    }

    /// Reserves the units of all lines for a checkout, or says what is short.
    pub(crate) fn reserve(
        &mut self,
        lines: &[OrderLine],
        about: &About,
    ) -> Result<Vec<Taken>, Vec<Shortage>> {
        let mut wanted: BTreeMap<u64, (u32, Vec<u32>)> = BTreeMap::new();
        for line in lines {
            let (quantity, numbers) = wanted.entry(line.variant).or_default();
            *quantity = quantity.saturating_add(line.quantity);
            numbers.push(line.number);
        }
        let mut short = Vec::new();
        for (variant, (quantity, numbers)) in &wanted {
            let row = self.state.stock_row(*variant).cloned().unwrap_or_default();
            if let Err(error) = row.item.clone().reserve(*variant, *quantity) {
                short.push(shortage(*variant, numbers, &row, *quantity, error));
            }
        }
        if !short.is_empty() {
            return Err(short);
        }
        let mut all = Vec::new();
        for (variant, (quantity, numbers)) in wanted {
            // It was possible a moment ago, and nobody else is here.
            let reserved = self.change_stock(variant, about, |row| {
                let taken = row.item.reserve(variant, quantity).map_err(stock_error)?;
                row.in_checkouts += taken.iter().map(|one| i64::from(one.quantity)).sum::<i64>();
                let lines = taken.iter().map(Taken::reserved).collect();
                all.extend(taken);
                Ok(lines)
            });
            if reserved.is_err() {
                self.release(&all, about, true);
                let row = StockRow::default();
                let error = StockError::TooMuch;
                return Err(vec![shortage(variant, &numbers, &row, quantity, error)]);
            }
        }
        Ok(all)
    }

    /// Gives units back; `in_checkout` says whether a checkout held them, or an order.
    pub(crate) fn release(&mut self, taken: &[Taken], about: &About, in_checkout: bool) {
        for one in taken {
            self.apply_taken(one, about, |row| {
                row.in_checkouts -= if in_checkout { i64::from(one.quantity) } else { 0 };
                row.item.release(one)
            });
        }
    }

    /// Units of an order left the house.
    pub(crate) fn sell(&mut self, taken: &[Taken], about: &About) {
        taken.iter().for_each(|one| self.apply_taken(one, about, |row| row.item.sell(one)));
    }

    /// Units that had left are there again.
    pub(crate) fn restock(&mut self, taken: &[Taken], about: &About) {
        taken.iter().for_each(|one| self.apply_taken(one, about, |row| row.item.restock(one)));
    }

    /// The units that a checkout held are an order's: counted as sold, and held no longer by a checkout.
    pub(crate) fn ordered(&mut self, lines: &[OrderLine], taken: &[Taken], about: &About) {
        for one in taken {
            let quantity = i64::from(one.quantity);
            let _ = self.change_stock(one.variant, about, |row| {
                row.in_checkouts -= quantity;
                Ok(Vec::new())
            });
        }
        for line in lines {
            let _ = self.change_stock(line.variant, about, |row| {
                row.sold += u64::from(line.quantity);
                Ok(Vec::new())
            });
        }
    }

    fn apply_taken(
        &mut self,
        taken: &Taken,
        about: &About,
        change: impl FnOnce(&mut StockRow) -> Result<LedgerLine, StockError>,
    ) {
        let changed = self.change_stock(taken.variant, about, |row| {
            change(row).map(|line| vec![line]).map_err(stock_error)
        });
        if let Err(refusal) = changed {
            // Places and rows of stock are never removed, so what was taken from one can go back there.
            tracing::error!(?taken, %refusal, "units could not be booked where they were taken from");
        }
    }
}

fn moved(row: &mut StockRow, from: u64, to: u64, quantity: u32) -> Result<Lines, Refusal> {
    let level = row.item.levels.iter().find(|level| level.location == from);
    let free = level.map_or(0, |level| level.on_hand - level.reserved);
    if free < i64::from(quantity) {
        return Err(Refusal::Stock(format!("{} can be moved from there", free.max(0))));
    }
    let (variant, quantity) = (row.variant, i64::from(quantity));
    let out = row.item.adjust(variant, from, -quantity, LedgerReason::Moved).map_err(stock_error)?;
    let into = row.item.adjust(variant, to, quantity, LedgerReason::Moved).map_err(stock_error)?;
    Ok(vec![out, into])
}

/// The row of a line of the ledger.
pub(crate) fn ledger_key(variant: u64, sequence: u64) -> model::id::Key {
    Kind::Variant.key(variant).with(model::id::Key(u128::from(sequence)))
}

fn shortage(variant: u64, lines: &[u32], row: &StockRow, wanted: u32, error: StockError) -> Shortage {
    let available = match error {
        StockError::NotEnough { available, .. } => available,
        _ => 0,
    };
    Shortage {
        variant,
        lines: lines.to_vec(),
        available,
        wanted: i64::from(wanted),
        may_come_back: row.in_checkouts > 0,
    }
}

fn stock_error(error: StockError) -> Refusal {
    Refusal::Stock(error.to_string())
}
