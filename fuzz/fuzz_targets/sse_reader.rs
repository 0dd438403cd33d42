//! Any bytes as an event stream, whole and cut in two: the same frames, and their raw bytes are the stream. What a
//! recorder makes of them can be rendered.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use semblance::wire::{
    Family, Fresh, RecordSettings, Recorder,
    sse::{Frame, Reader},
};

fn read(pieces: &[&[u8]]) -> (Vec<Frame>, Bytes) {
    let (mut reader, mut frames) = (Reader::new(1 << 20), Vec::new());
    for piece in pieces {
        if reader.feed(piece, &mut frames).is_err() {
            break;
        }
    }
    let ending = reader.finish();
    frames.extend(ending.frame);
    (frames, ending.leftover)
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, stream) = input;
    let (head, tail) = stream.split_at(usize::from(cut).min(stream.len()));
    let (frames, leftover) = read(&[stream]);
    assert_eq!((&frames, &leftover), (&read(&[head, tail]).0, &read(&[head, tail]).1));
    let rejoined: Vec<u8> = frames.iter().flat_map(|frame| frame.raw.iter().copied()).chain(leftover).collect();
    assert_eq!(rejoined, stream);

    for family in Family::ALL {
        let mut recorder = Recorder::new(*family, RecordSettings::default(), false);
        frames.iter().for_each(|frame| recorder.frame(frame));
        if let Some(answer) = recorder.finish_stream(true).answer {
            answer.render_stream(&Fresh::original(&answer), true);
            serde_json::from_slice::<serde_json::Value>(&answer.render_json(&Fresh::original(&answer))).ok();
        }
    }
});
