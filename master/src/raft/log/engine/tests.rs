use super::*;
use cairn_common::seam::must_fail_without;
use std::path::PathBuf;

/// A log of some entries in `folder`, closed again; its file.
fn filled(folder: &Path) -> PathBuf {
    let mut log = EngineLog::open(folder).unwrap();
    for index in 1..=50 {
        let entry = Entry { index, term: 1, data: vec![index as u8; 300].into(), ..Entry::default() };
        log.append(&[entry], Some(&HardState { term: 1, commit: index, ..HardState::default() })).unwrap();
    }
    drop(log);
    let names = RealDisk.list(folder).unwrap();
    folder.join(names.iter().find(|name| name.ends_with(".raftlog")).unwrap())
}

fn read(path: &Path) -> Vec<u8> {
    RealDisk.read(path).unwrap()
}

#[test]
fn a_tail_that_was_torn_is_cut_and_nothing_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let file = filled(&log);
    let whole = read(&file);
    for torn in [1, 10, 100] {
        let more = [&whole[..], &whole[whole.len() - 200..][..torn]].concat();
        RealDisk.replace(&file, &more).unwrap();
        assert_eq!(EngineLog::open(&log).unwrap().last_index().unwrap(), 50);
        assert_eq!(read(&file), whole, "what was torn is gone");
    }
}

#[test]
fn damage_before_what_was_synced_is_told_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let file = filled(&log);
    let whole = read(&file);
    for at in (20..whole.len()).step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        RealDisk.replace(&file, &damaged).unwrap();
        match EngineLog::open(&log) {
            Err(error) => assert!(error.to_string().contains("Nothing was changed"), "{error}"),
            // A body is looked at when it is read.
            Ok(log) => assert!(log.entries(1, 51).is_err(), "byte {at} is damaged, and nobody noticed"),
        }
        assert_eq!(read(&file), damaged, "byte {at}");
    }
    for length in [whole.len() - 1, whole.len() / 2, 20] {
        RealDisk.replace(&file, &whole[..length]).unwrap();
        let error = EngineLog::open(&log).err().unwrap().to_string();
        assert!(error.contains("write 50 was on disk"), "{error}");
    }
    RealDisk.replace(&file, &whole).unwrap();
    assert_eq!(EngineLog::open(&log).unwrap().last_index().unwrap(), 50);
}

#[test]
fn a_tail_that_is_cut_although_it_was_synced_is_noticed() {
    must_fail_without("cut-synced-tail", damage_before_what_was_synced_is_told_and_nothing_is_changed);
}

#[test]
fn a_marker_that_lags_behind_lets_a_torn_tail_be_cut() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let file = filled(&log);
    let whole = read(&file);
    RealDisk.remove(&log.with_extension("synced")).unwrap();
    RealDisk.replace(&file, &whole[..whole.len() - 1]).unwrap();
    let mut again = EngineLog::open(&log).unwrap();
    assert_eq!(again.last_index().unwrap(), 49);
    again.append(&[Entry { index: 50, term: 2, ..Entry::default() }], None).unwrap();
    drop(again);
    assert_eq!(EngineLog::open(&log).unwrap().last_index().unwrap(), 50);
}
