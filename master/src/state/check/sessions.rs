//! Sessions and windows.

use super::{Violation, each};
use crate::store::key::{AnswerKey, Due, DueKey, ProgressKey, RowKey, SessionKey, WindowKey, WindowStartKey};
use crate::store::{MetaView, StoreError, Table};
use cairn_common::ids::WindowId;
use std::collections::BTreeMap;

pub(super) fn check(view: &dyn MetaView, violations: &mut Vec<Violation>) -> Result<(), StoreError> {
    each::<SessionKey>(view, SessionKey::all(), |SessionKey(session), _| {
        if view.row(&ProgressKey(session))?.is_none() {
            violations.push(Violation::Session(session));
        }
        Ok(())
    })?;
    each::<AnswerKey>(view, AnswerKey::all(), |key, _| {
        let progress = view.row(&ProgressKey(key.session))?;
        if !progress.is_some_and(|progress| (progress.lowest..progress.next).contains(&key.sequence)) {
            violations.push(Violation::Session(key.session));
        }
        Ok(())
    })?;
    windows(view, violations)
}

/// Every window has three rows: its session's, the one by age, and the one that ends it.
fn windows(view: &dyn MetaView, violations: &mut Vec<Violation>) -> Result<(), StoreError> {
    let mut rows: BTreeMap<WindowId, [u8; 3]> = BTreeMap::new();
    each::<WindowKey>(view, WindowKey::all(), |key, _| {
        rows.entry(key.window).or_default()[0] += 1;
        if view.row(&SessionKey(key.session))?.is_none() {
            violations.push(Violation::Orphan { table: Table::Sessions, key: hex::encode(key.encode()) });
        }
        Ok(())
    })?;
    each::<WindowStartKey>(view, WindowStartKey::all(), |WindowStartKey(window), _| {
        rows.entry(window).or_default()[1] += 1;
        Ok(())
    })?;
    each::<DueKey>(view, DueKey::all(), |key, _| {
        if let Due::Window(_, window) = key.what {
            rows.entry(window).or_default()[2] += 1;
        }
        Ok(())
    })?;
    let incomplete = rows.into_iter().filter(|(_, rows)| *rows != [1, 1, 1]);
    violations.extend(incomplete.map(|(window, _)| Violation::Window(window)));
    Ok(())
}
