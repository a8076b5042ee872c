use super::super::signature::SignedHead;
use super::*;
use crate::checksum::Hasher;
use proptest::prelude::*;

/// What came out, and the verdict at the end.
fn decode(
    mut decoder: ChunkedDecoder,
    body: &[u8],
    piece: usize,
) -> Result<(Vec<u8>, BTreeMap<Algorithm, String>), ChunkedError> {
    let mut out = Vec::new();
    for piece in body.chunks(piece.max(1)) {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(bytes) = decoder.decode(&mut input)? {
            assert!(!bytes.is_empty());
            out.extend_from_slice(&bytes);
        }
        assert!(input.is_empty());
    }
    Ok((out, decoder.finish()?))
}

fn unsigned(stated: u64) -> ChunkedDecoder {
    ChunkedDecoder::new(stated, None, vec![Algorithm::Crc32])
}

/// An unsigned body of chunks with a right CRC32 behind it.
fn frame(chunks: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("0\r\nx-amz-checksum-crc32:{}\r\n\r\n", crc(&chunks.concat())).as_bytes());
    body
}

fn crc(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(Hasher::of(Algorithm::Crc32, bytes))
}

proptest! {
    #[test]
    fn chunks_come_out_as_they_went_in_however_they_arrive(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8), piece in 1usize..400
    ) {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let whole = chunks.concat();
        let (out, trailers) = decode(unsigned(whole.len() as u64), &frame(&chunks), piece).unwrap();
        prop_assert_eq!(&out, &whole);
        prop_assert_eq!(trailers, BTreeMap::from([(Algorithm::Crc32, crc(&whole))]));
    }

    #[test]
    fn a_body_that_is_cut_or_changed_never_passes_as_whole(cut in 0usize..60, at in 0usize..60, flip in 1u8..255) {
        let body = frame(&[b"hello", b", world"]);
        if cut < body.len() - 4 {
            // Without its last line ends it is still whole, as some clients leave them out.
            let outcome = decode(unsigned(12), &body[..cut], 7);
            prop_assert!(outcome.is_err() || outcome.unwrap().1[&Algorithm::Crc32] != crc(b"hello, world"));
        }
        let mut bad = body.clone();
        let at = at % bad.len();
        bad[at] ^= flip;
        if let Ok((out, trailers)) = decode(unsigned(12), &bad, 7) {
            let known = trailers.get(&Algorithm::Crc32).cloned();
            prop_assert!(known != Some(crc(&out)) || out == b"hello, world");
        }
    }

    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200), signed: bool) {
        let decoder = if signed { ChunkedDecoder::new(100, Some(aws()), vec![]) } else { unsigned(100) };
        let _ = decode(decoder, &body, 13);
    }
}

#[test]
fn each_kind_of_malformed_body_is_refused() {
    let refused = |body: &[u8]| {
        let outcome = decode(unsigned(5), body, 4);
        matches!(outcome, Err(ChunkedError::Malformed(_)))
    };
    for bad in [
        &b"5\nhello\r\n"[..],
        b"5 \r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"\r\nhello",
        b"11111111111111111\r\nhello\r\n",
        b"5;chunk-signature=00\r\nhello\r\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\r\n0\r\nno trailer\r\n\r\n",
        &[b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:".as_slice(), &[b'a'; 5000], b"\r\n\r\n"].concat(),
        &[b'1'; 1000],
    ] {
        assert!(refused(bad), "{}", String::from_utf8_lossy(&bad[..bad.len().min(60)]));
    }
    let whole = frame(&[b"hello"]);
    assert!(decode(unsigned(5), &whole, 3).is_ok());
    assert!(refused(&[whole.as_slice(), b"x"].concat()));
}

#[test]
fn the_last_chunk_must_be_there() {
    assert_eq!(decode(unsigned(5), b"5\r\nhello\r\n", 100), Err(ChunkedError::NoLastChunk));
    assert_eq!(decode(unsigned(5), b"5\r\nhello", 100), Err(ChunkedError::NoLastChunk));
    assert_eq!(decode(unsigned(5), b"5\r\nhel", 100), Err(ChunkedError::NoLastChunk));
    assert_eq!(decode(unsigned(0), b"", 100), Err(ChunkedError::NoLastChunk));
}

#[test]
fn the_stated_length_must_be_that_of_the_chunks() {
    let incomplete = |stated, found| Err(ChunkedError::Incomplete { stated, found });
    assert_eq!(decode(unsigned(6), &frame(&[b"hello"]), 100), incomplete(6, 5));
    assert_eq!(decode(unsigned(4), &frame(&[b"hello"]), 100), incomplete(4, 5));
    // Refused by its head, before any of it is taken in.
    assert_eq!(decode(unsigned(4), b"ffffffffffffffff\r\n", 100), incomplete(4, u64::MAX));
}

#[test]
fn trailers_are_those_that_were_announced() {
    let with =
        |trailers: &str| decode(unsigned(0), format!("0\r\n{trailers}\r\n").as_bytes(), 9).map(|(_, found)| found);
    assert_eq!(with("x-amz-checksum-crc32: AAAAAA== \r\n").unwrap()[&Algorithm::Crc32], "AAAAAA==");
    // Some clients end the empty data of the last chunk with a line of its own.
    assert_eq!(with("\r\nx-amz-checksum-crc32:AAAAAA==\r\n").unwrap().len(), 1);
    for bad in [
        "",
        "x-amz-checksum-crc32c:AAAAAA==\r\n",
        "x-amz-checksum-crc32:AAAAAA==\r\nx-amz-checksum-crc32:AAAAAA==\r\n",
        "x-amz-checksum-crc32:AAAAAA==\r\nx-amz-meta-a:b\r\n",
        "x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:00\r\n",
    ] {
        assert!(matches!(with(bad), Err(ChunkedError::Trailer { .. })), "{bad:?}");
    }
}

/// The key, time and region of the examples in "Signature calculations for the authorization header: transferring a payload in
/// multiple chunks" and "… including trailing headers" (Amazon S3 API Reference).
fn aws() -> ChunkSignatures {
    aws_from("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9")
}

fn aws_from(signature: &str) -> ChunkSignatures {
    let head = SignedHead {
        time: "20130524T000000Z".to_owned(),
        region: "us-east-1".to_owned(),
        signature: signature.to_owned(),
    };
    ChunkSignatures::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", head)
}

const SIGNATURES: [&str; 3] = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
];

fn signed(signatures: [&str; 3], data: [&[u8]; 2], trailers: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (data, signature) in [data[0], data[1], b""].into_iter().zip(signatures) {
        body.extend_from_slice(format!("{:x};chunk-signature={signature}\r\n", data.len()).as_bytes());
        body.extend_from_slice(data);
        if !data.is_empty() {
            body.extend_from_slice(b"\r\n");
        }
    }
    body.extend_from_slice(trailers.as_bytes());
    body.extend_from_slice(b"\r\n");
    body
}

const A: &[u8] = &[b'a'; 65536];

#[test]
fn the_signed_chunks_that_aws_publishes_are_right() {
    let body = signed(SIGNATURES, [A, &A[..1024]], "");
    for piece in [1, 1000, usize::MAX >> 1] {
        let (out, _) = decode(ChunkedDecoder::new(66560, Some(aws()), vec![]), &body, piece).unwrap();
        assert_eq!(out.len(), 66560);
    }
}

#[test]
fn a_forged_chunk_is_refused_wherever_it_is() {
    let refused = |body: &[u8]| decode(ChunkedDecoder::new(66560, Some(aws()), vec![]), body, 10_000).unwrap_err();
    let right = signed(SIGNATURES, [A, &A[..1024]], "");
    for at in [200, 65000, 66000, right.len() - 60] {
        let mut bad = right.clone();
        bad[at] = if bad[at] == b'b' { b'c' } else { b'b' };
        assert_eq!(refused(&bad), ChunkedError::Signature, "byte {at}");
    }
    let [first, second, last] = SIGNATURES;
    assert_eq!(refused(&signed([second, first, last], [A, &A[..1024]], "")), ChunkedError::Signature);
    assert_eq!(refused(&signed([first, second, second], [A, &A[..1024]], "")), ChunkedError::Signature);
    assert_eq!(refused(&signed([first, &second[..63], last], [A, &A[..1024]], "")), ChunkedError::Signature);
    // Chunks left out: the length is signed with the head.
    let short = signed(SIGNATURES, [A, b""], "");
    assert!(decode(ChunkedDecoder::new(66560, Some(aws()), vec![]), &short, 10_000).is_err());
    let unsigned = b"5\r\nhello\r\n0\r\n\r\n";
    assert!(matches!(refused(unsigned), ChunkedError::Malformed(_)));
}

#[test]
fn the_signed_trailer_that_aws_publishes_is_right_and_no_other() {
    let signatures = [
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ];
    let with = |trailers: &str| {
        let chain = aws_from("106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e");
        let decoder = ChunkedDecoder::new(66560, Some(chain), vec![Algorithm::Crc32c]);
        decode(decoder, &signed(signatures, [A, &A[..1024]], trailers), 5000).map(|(_, trailers)| trailers)
    };
    let sum = "x-amz-checksum-crc32c:sOO8/Q==\r\n";
    let signature = "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n";
    assert_eq!(with(&format!("{sum}{signature}")).unwrap()[&Algorithm::Crc32c], "sOO8/Q==");
    let forged = format!("x-amz-checksum-crc32c:AAAAAA==\r\n{signature}");
    assert_eq!(with(&forged), Err(ChunkedError::Signature));
    assert!(matches!(with(sum), Err(ChunkedError::Trailer { .. })));
    assert!(matches!(with(signature), Err(ChunkedError::Trailer { .. })));
    assert!(matches!(with(&format!("{sum}{signature}{signature}")), Err(ChunkedError::Trailer { .. })));
}

#[test]
fn only_the_last_signed_chunk_may_be_small() {
    let chain = aws();
    let decoder = ChunkedDecoder::new(2000, Some(chain), vec![]);
    // The first chunk has a right signature for nothing here, so its own check comes first.
    let outcome = decode(decoder, &signed(SIGNATURES, [&A[..1024], &A[..976]], ""), 100);
    assert_eq!(outcome, Err(ChunkedError::Signature));
    let mut decoder = ChunkedDecoder::new(2000, Some(aws()), vec![]);
    decoder.had_small_chunk = true;
    let mut head = Bytes::from(format!("3e8;chunk-signature={}\r\n", SIGNATURES[0]));
    assert_eq!(decoder.decode(&mut head), Err(ChunkedError::SmallChunk));
}
