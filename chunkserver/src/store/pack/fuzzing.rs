//! Packs as a damaged or hostile disk gives them, open to the fuzzers in `fuzz/`. Not part of the program (feature `fuzzing`).

use super::header::PackHeader;
use super::record::{CHECKED, HEADER_BYTES, PackKey, RecordHeader, encode_head};
use super::scan::{Event, scan};
use super::{PAGE_BYTES, PackNumber, SECTOR_BYTES, round_up};
use bytes::Bytes;
use cairn_common::chunk::VerifiedChunk;
use cairn_common::ids::{Domain, Stamp, VolumeId};
use cairn_common::seam::DiskFile;
use std::io;

/// A pack with these bytes behind its first page, and with a good record behind them.
///
/// Twice: as they are, and with the MAC of the first header put right, which no fuzzer finds by itself. Whatever the bytes
/// are, the walk tells of what lies in the pack in its order, calls only those records good whose bytes match, and finds the
/// record behind.
pub fn pack_records(data: &[u8]) {
    let key = PackKey::derive(&[7; 32], VolumeId(5), PackNumber(2));
    walk(data.to_vec(), &key);
    if let Some(checked) = data.first_chunk::<CHECKED>() {
        let mut forged = checked.to_vec();
        forged[..8].copy_from_slice(b"CAIRNREC");
        forged.extend_from_slice(&key.mac(&forged));
        if let Ok(header) = RecordHeader::decode(&forged, PAGE_BYTES, &key) {
            assert_eq!(RecordHeader::decode(&header.encode(&key), PAGE_BYTES, &key), Ok(header.clone()));
            assert!(header.body_range().1 <= header.record_bytes() as usize, "{header:?}");
        }
        forged.extend_from_slice(&data[CHECKED..]);
        walk(forged, &key);
    }
    first_page(data);
}

/// The header of a pack, with its checksum put right.
fn first_page(data: &[u8]) {
    let _ = PackHeader::decode(data);
    if let Some(checked) = data.first_chunk::<64>() {
        let mut page = checked.to_vec();
        page[..9].copy_from_slice(b"CAIRNPAK\x01");
        page.extend_from_slice(blake3::hash(&page).as_bytes());
        let header = PackHeader::decode(&page).expect("the checksum is right");
        assert_eq!(PackHeader::decode(&header.encode()), Ok(header));
    }
}

fn walk(bytes: Vec<u8>, key: &PackKey) {
    let mut file = vec![0; PAGE_BYTES as usize];
    file.extend_from_slice(&bytes);
    file.resize(round_up(file.len() as u64, SECTOR_BYTES) as usize, 0);
    let behind = file.len() as u32;
    let chunk = VerifiedChunk::hash(Domain(1), Bytes::from_static(b"behind"), |_| ());
    let last = RecordHeader::chunk(&chunk, Stamp(1), behind, behind);
    encode_head(&last, &[], key, &mut file);
    file.extend_from_slice(b"behind");
    file.resize(behind as usize + last.record_bytes() as usize, 0);

    let until = file.len() as u32;
    let mut events = Vec::new();
    let file = MemoryFile(file);
    let walked = scan::<io::Error>(&file, key, PAGE_BYTES, until, |event| {
        events.push(event);
        Ok(())
    });
    assert!(walked.is_ok(), "nothing fails: {walked:?}");
    assert_eq!(events.last(), Some(&Event::Good(last)), "{events:?}");
    let mut at = PAGE_BYTES;
    for event in &events {
        let start = match event {
            Event::Good(header) => {
                let record = &file.0[header.offset as usize..][..header.record_bytes() as usize];
                let (body, end) = header.body_range();
                assert!(header.matches(&record[HEADER_BYTES..body], &record[body..end]), "{header:?}");
                header.offset
            }
            Event::Bad(header, _) => header.offset,
            Event::Newer(offset) => *offset,
            Event::Garbage(range) | Event::Hole(range) => range.start,
        };
        assert!(start >= at && start < until, "{events:?}");
        at = start;
    }
}

/// A file that is read.
struct MemoryFile(Vec<u8>);

impl DiskFile for MemoryFile {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(self.0.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn drop_cache(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn lock(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_the_fuzzers_passes() {
        cairn_common::fuzzing::replay("pack_records", super::pack_records);
    }
}
