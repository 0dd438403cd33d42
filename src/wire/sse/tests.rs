use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 16;

fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Bytes) {
    let (mut reader, mut frames) = (Reader::new(LIMIT), Vec::new());
    for piece in pieces {
        reader.feed(piece, &mut frames).unwrap();
    }
    let Ending { frame, leftover } = reader.finish();
    frames.extend(frame);
    (frames, leftover)
}

fn data_of(stream: &str) -> Vec<Option<String>> {
    let text = |data: Bytes| String::from_utf8(data.to_vec()).unwrap();
    read_pieces([stream.as_bytes()]).0.into_iter().map(|frame| frame.data.map(text)).collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[test]
fn every_line_ending_and_spacing_gives_the_same_data() {
    for stream in [
        "data: a\n\ndata: b\n\n",
        "data:a\r\n\r\ndata:b\r\n\r\n",
        "data: a\r\rdata: b\r\r",
        "data: a\n\r\ndata: b\r\n\n",
    ] {
        assert_eq!(data_of(stream), some(&["a", "b"]), "{stream:?}");
    }
}

#[test]
fn case_12_comments_and_crlf_are_frames_without_data() {
    assert_eq!(data_of(": ping\r\n\r\ndata: a\r\n\r\n"), [None, Some("a".to_owned())]);
}

#[test]
fn several_data_lines_are_joined_and_only_one_space_is_taken() {
    assert_eq!(data_of("data:  a\ndata\ndata: b\nid: 7\n\n"), some(&[" a\n\nb"]));
}

#[test]
fn the_event_name_is_read() {
    let (frames, _) = read_pieces([&b"event: error\ndata: {}\n\n"[..]]);
    assert_eq!(frames[0].event.as_deref(), Some(&b"error"[..]));
}

#[test]
fn a_byte_order_mark_counts_only_at_the_start() {
    assert_eq!(data_of("\u{feff}data: a\n\n\u{feff}data: b\n\n"), [Some("a".to_owned()), None]);
}

#[test]
fn an_unterminated_block_is_left_over() {
    let (frames, leftover) = read_pieces([&b"data: a\n\ndata: b\n"[..]]);
    assert_eq!(frames.len(), 1);
    assert_eq!(leftover, &b"data: b\n"[..]);
}

#[test]
fn case_11_a_split_inside_a_character_and_inside_the_terminator_loses_nothing() {
    let stream = "data: Zürich €\n\ndata: b\n\n".as_bytes();
    let split = read_pieces([&stream[..8], &stream[8..14], &stream[14..18], &stream[18..]]);
    assert_eq!(split, read_pieces([stream]));
}

#[test]
fn a_frame_above_the_limit_is_an_error_and_its_bytes_are_not_lost() {
    let (mut reader, mut frames) = (Reader::new(10), Vec::new());
    reader.feed(b"data: a\n\n", &mut frames).unwrap();
    assert_eq!(reader.feed(b"data: far too long", &mut frames), Err(FrameTooLarge { limit: 10 }));
    assert_eq!(frames.len(), 1);
    assert_eq!(reader.finish().leftover, &b"data: far too long"[..]);
}

fn stream_bytes() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just("data:"),
        Just("data: "),
        Just("event: x"),
        Just(": c"),
        Just("\n"),
        Just("\r"),
        Just("\r\n"),
        Just("\n\n"),
        Just("é"),
        Just("{\"a\":1}"),
        Just("\u{feff}"),
        Just(" "),
    ];
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames_and_the_raws_are_the_stream(
        stream in stream_bytes(), cuts in prop::collection::vec(0_usize..200, 0..12),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        let (frames, leftover) = read_pieces(pieces);
        let whole = read_pieces([&stream[..]]);
        prop_assert_eq!(&(frames.clone(), leftover.clone()), &whole);
        let mut rejoined: Vec<u8> = frames.iter().flat_map(|frame| frame.raw.to_vec()).collect();
        rejoined.extend_from_slice(&leftover);
        prop_assert_eq!(rejoined, stream);
    }
}
