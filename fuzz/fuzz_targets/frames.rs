//! Frames between nodes, as they come off a connection.

#![no_main]

use bytes::BytesMut;
use cairn_common::wire::frame::Frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = BytesMut::from(data);
    while let Ok(Some(frame)) = Frame::decode(&mut input) {
        let mut again = BytesMut::new();
        frame.encode(&mut again);
        assert!(matches!(Frame::decode(&mut again), Ok(Some(_))) && again.is_empty());
    }
});
